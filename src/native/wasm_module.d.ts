/** The C sources of the CPU kernels, compiled to WebAssembly: native/wasm/weft.wasm. */
declare const module: WebAssembly.Module;
export default module;
