import { assertEquals, assertThrows } from "@std/assert";
import { chooseDevice } from "../../../src/engine/device_choice.ts";

const gpu = { name: "Test GPU", architecture: 90, totalMemory: 1e9 };

function none(): never {
  throw new Error("Cannot find a driver: tried\n  here\n  there");
}

const native = { obstacle: () => null };

Deno.test("auto takes GPUs where there are any, else the CPU, and says why", () => {
  const both = chooseDevice("auto", { gpus: () => [gpu, gpu] });
  assertEquals([both.kind, both.gpus.length], ["cuda", 2]);
  assertEquals(chooseDevice("auto", { gpus: none, ...native }), {
    kind: "cpu",
    wasm: false,
    reason: "auto finds no GPU to use: Cannot find a driver: tried",
    gpus: [],
  });
  assertEquals(
    chooseDevice("auto", { gpus: () => [], ...native }).reason,
    "auto finds no GPU to use: there is no GPU",
  );
});

Deno.test("what is asked for is taken or refused", () => {
  assertEquals(chooseDevice("cpu", { gpus: none, ...native }).wasm, false);
  assertEquals(chooseDevice("wasm", { gpus: none, ...native }).wasm, true);
  assertEquals(chooseDevice("cuda", { gpus: () => [gpu] }).gpus, [gpu]);
  assertThrows(() => chooseDevice("cuda", { gpus: none }), Error, "there");
});

Deno.test("where the native kernels cannot be compiled, WebAssembly is used and the reason said", () => {
  const obstacle = () => "no C compiler";
  assertEquals(chooseDevice("cpu", { gpus: none, obstacle }), {
    kind: "cpu",
    wasm: true,
    reason: "asked for; WebAssembly is used: no C compiler",
    gpus: [],
  });
  const auto = chooseDevice("auto", { gpus: () => [], obstacle });
  assertEquals(
    auto.reason,
    "auto finds no GPU to use: there is no GPU; WebAssembly is used: no C compiler",
  );
});
