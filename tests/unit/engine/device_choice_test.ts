import { assertEquals, assertThrows } from "@std/assert";
import { chooseDevice } from "../../../src/engine/device_choice.ts";

const gpu = { name: "Test GPU", architecture: 90, totalMemory: 1e9 };

function none(): never {
  throw new Error("Cannot find a driver: tried\n  here\n  there");
}

Deno.test("auto takes GPUs where there are any, else the CPU, and says why", () => {
  const both = chooseDevice("auto", () => [gpu, gpu]);
  assertEquals([both.kind, both.gpus.length], ["cuda", 2]);
  assertEquals(chooseDevice("auto", none), {
    kind: "cpu",
    reason: "auto finds no GPU to use: Cannot find a driver: tried",
    gpus: [],
  });
  assertEquals(chooseDevice("auto", () => []).reason, "auto finds no GPU to use: there is no GPU");
});

Deno.test("what is asked for is taken or refused", () => {
  assertEquals(chooseDevice("cpu", none).kind, "cpu");
  assertEquals(chooseDevice("cuda", () => [gpu]).gpus, [gpu]);
  assertThrows(() => chooseDevice("cuda", none), Error, "there");
});
