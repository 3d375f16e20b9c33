// @ts-self-types="./wasm_module.d.ts"
// A source phase import, which TypeScript cannot write yet: it travels with the package like code, and
// needs no permission to read. Nothing is compiled before a function is first called.
import source module from "../../native/wasm/weft.wasm";
export default module;
