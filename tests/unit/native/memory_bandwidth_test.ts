import { assertGreater, assertLess, assertThrows } from "@std/assert";
import { measureReadBandwidth } from "../../../src/native/memory_bandwidth.ts";

Deno.test("memory is read at a rate that memory has", () => {
  const rate = measureReadBandwidth({ threads: 1, mebibytes: 64, repetitions: 2 });
  assertGreater(rate, 1e8);
  assertLess(rate, 2e12);
});

Deno.test("options out of range are refused", () => {
  assertThrows(() => measureReadBandwidth({ threads: 0 }), RangeError, "threads");
  assertThrows(() => measureReadBandwidth({ threads: 1, mebibytes: 1.5 }), RangeError);
});

Deno.test("WebAssembly reads memory at a rate that memory has", () => {
  const rate = measureReadBandwidth({ threads: 2, mebibytes: 64, repetitions: 2, wasm: true });
  assertGreater(rate, 1e8);
  assertLess(rate, 2e12);
});
