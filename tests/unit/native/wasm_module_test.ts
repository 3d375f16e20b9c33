import { assertEquals, assertThrows } from "@std/assert";
import { createWasmMemory, WasmLibrary } from "../../../src/native/wasm_library.ts";
import { buildWasm, clangVersion, WASM_COMPILER, WASM_MODULE } from "../../../tools/build_wasm.ts";

Deno.test("the shipped WebAssembly module is what its sources give", () => {
  const version = clangVersion();
  if (version !== WASM_COMPILER) {
    console.warn(
      `NOT CHECKED: native/wasm/weft.wasm, as ${WASM_COMPILER} is needed: found ${version}`,
    );
    return;
  }
  const [built, shipped] = [buildWasm(), Deno.readFileSync(WASM_MODULE)];
  const same = built.length === shipped.length && built.every((byte, i) => byte === shipped[i]);
  assertEquals(same, true, "native/wasm/weft.wasm is outdated: run deno task wasm");
});

Deno.test("blocks of WebAssembly memory are apart, aligned, joined again and reused", () => {
  const library = new WasmLibrary(createWasmMemory());
  const sizes = [1, 64, 100_000, 3_000_000, 0, 65, 17];
  const first = sizes.map((size) => library.allocate(size));
  first.forEach((address, i) => {
    assertEquals(address % 64n, 0n);
    library.bytes(address, sizes[i]).fill(i + 1);
  });
  first.forEach((address, i) => {
    assertEquals(library.bytes(address, sizes[i]).every((byte) => byte === i + 1), true);
  });
  const { byteLength } = library.memory.buffer;
  for (const i of [3, 0, 5, 2, 6, 1, 4]) library.free(first[i]);
  const whole = library.allocate(3_050_000);
  assertEquals(whole > 0n, true);
  assertEquals(library.memory.buffer.byteLength, byteLength);
  assertEquals(library.allocate(2 ** 32 - 1), 0n);
  assertEquals(library.allocate(2 ** 40), 0n);
  assertThrows(() => library.bytes(2n ** 32n - 8n, 16), RangeError, "16 bytes");
});

Deno.test("instances on one memory have stacks of their own and see each other's blocks", () => {
  const memory = createWasmMemory();
  const [one, other] = [new WasmLibrary(memory), new WasmLibrary(memory)];
  const address = one.allocate(1000);
  one.bytes(address, 1000).fill(7);
  assertEquals(other.bytes(address, 1000).every((byte) => byte === 7), true);
  other.free(address);
  assertEquals(one.allocate(1000), address);
  assertEquals(one.text("weft_instruction_set"), other.text("weft_instruction_set"));
  assertThrows(() => one.text("weft_no_such"), TypeError, "weft_no_such");
});
