/** What a user sees when CUDA or NCCL fails; the failures are the emulator's. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertMatch,
} from "@std/assert";
import { assertRejects, assertThrows } from "@std/assert";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { EngineDeadError, type EngineOptions } from "../../src/engine/types.ts";
import { NativeError } from "../../src/native/native_error.ts";
import { CapacityError, DeviceTimeoutError } from "../../src/tensor/errors.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { goldenFolder } from "../golden/golden_case.ts";
import { emulatorControls, onEmulator, openTestDevice, useTestLibraries } from "./_device.ts";
import type { NcclFailure, NcclFailureCase } from "./ranks/nccl_failures.ts";

await useTestLibraries();

/** Runs with failures of this process's GPU, and forgets everything of the GPU afterwards. */
async function withFailures(failures: string, run: () => void | Promise<void>): Promise<void> {
  using controls = (await emulatorControls())!;
  controls.injectFailures(failures);
  try {
    await run();
  } finally {
    controls.reset();
  }
}

/** The same for the rank processes of an engine, by what they inherit. */
async function withInherited(failures: string, run: () => Promise<void>): Promise<void> {
  Deno.env.set("WEFT_EMULATED_FAILURES", failures);
  try {
    await run();
  } finally {
    Deno.env.delete("WEFT_EMULATED_FAILURES");
  }
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `GPU failures: ${name}`, ignore: !onEmulator, fn });
}

test("a kernel that fails is a NativeError, and the device still closes", async () => {
  await withFailures("launch=2", async () => {
    using device = await openTestDevice();
    using x = Tensor.allocate(device, { shape: [8] });
    x.upload(new Float32Array(8));
    const error = assertThrows(() => {
      for (let i = 0; i < 3; i++) device.add(x, x, x, 8);
      x.download(new Float32Array(8));
    }, NativeError);
    assertEquals(error.library, "cudart");
    assertGreater(error.status, 0);
  });
});

test("work that hangs ends the wait at the deadline", async () => {
  await withFailures("hang=1", async () => {
    const device = await openTestDevice({ timeoutMs: 300 });
    const x = Tensor.allocate(device, { shape: [8] });
    device.add(x, x, x, 8);
    const start = performance.now();
    const error = assertThrows(() => device.synchronize(), DeviceTimeoutError);
    assertEquals(error.timeoutMs, 300);
    device[Symbol.dispose]();
    assertLess(performance.now() - start, 5000);
  });
});

test("memory that runs out is a CapacityError, and what was there still works", async () => {
  using device = await openTestDevice();
  using x = Tensor.allocate(device, { shape: [4] });
  x.upload(Float32Array.of(1, 2, 3, 4));
  using controls = (await emulatorControls())!;
  controls.injectFailures("allocation=1");
  assertThrows(() => device.allocate(64), CapacityError, "out of memory");
  device.add(x, x, x, 4);
  assertEquals(x.download(new Float32Array(4)), Float32Array.of(2, 4, 6, 8));
  controls.injectFailures("");
});

async function ncclFailure(failures: string, recorded = false): Promise<NcclFailure[]> {
  using controls = (await emulatorControls())!;
  const { path: cudartPath } = controls;
  const args: NcclFailureCase = { failures, failingRank: 1, cudartPath, recorded };
  const entry = new URL("./ranks/nccl_failures.ts", import.meta.url);
  await using ranks = launchRanks<NcclFailure>(entry, {
    size: 2,
    launcher: "process",
    args,
    timeoutMs: 5000,
  });
  return await ranks.results;
}

for (
  const [failures, operation] of [
    ["nccl_remote_error=2", /allReduce|work of the stream/],
    ["nccl_hang=2", /DeviceTimeoutError|allReduce|work of the stream/],
    ["nccl_init_hang=1", /init|allReduce|work of the stream|DeviceTimeoutError/],
  ] as const
) {
  test(`${failures} ends NCCL on every rank, within the deadline`, async () => {
    const seen = await ncclFailure(failures);
    for (const { operation: where, message, milliseconds } of seen) {
      assertMatch(where, operation, `${where}: ${message}`);
      assertLess(milliseconds, 8000, message);
    }
  });
}

test("NCCL is not ended while a recording holds its operations, as it would wait for that", async () => {
  for (const { message, misuses } of await ncclFailure("nccl_remote_error=3", true)) {
    assertMatch(message, /nccl|aborted|work of the stream/i);
    assertEquals(misuses, []);
  }
});

const ENGINE = {
  model: goldenFolder("llama"),
  device: "cuda",
  dtype: "f32",
  numKvBlocks: 16,
  maxNumSeqs: 2,
  maxNumBatchedTokens: 32,
} as const;

/** An engine whose ranks fail after it was loaded; resolves with what its request got. */
async function generationError(
  options: Partial<EngineOptions>,
  onLoaded: () => void = () => {},
): Promise<unknown> {
  await using engine = await LlmEngine.load({ ...ENGINE, ...options });
  onLoaded();
  const request = { promptTokenIds: [1, 2, 3], sampling: { maxTokens: 40, ignoreEos: true } };
  const error = await assertRejects(async () => {
    for await (const _ of engine.generate(request)) { /* until it fails */ }
  });
  await assertRejects(async () => {
    for await (const _ of engine.generate(request)) { /* never begins */ }
  }, EngineDeadError);
  return error;
}

test("an engine whose GPU is full says so while it loads", async () => {
  await withInherited("memory=20000000", async () => {
    const error = await assertRejects(() => LlmEngine.load(ENGINE), Error);
    assertMatch(error.message, /memory/);
  });
});

test("a kernel that fails ends the engine and its requests, not the process", async () => {
  using controls = (await emulatorControls())!;
  const error = await generationError(
    { launcher: "thread" },
    () => controls.injectFailures("launch=50"),
  );
  controls.reset();
  assertInstanceOf(error, EngineDeadError);
  assertMatch(error.message, /cudart/);
});

test("an error of NCCL ends the engine on both ranks", async () => {
  await withInherited("nccl_remote_error=400@1", async () => {
    const error = await generationError({ tensorParallelSize: 2 });
    assertInstanceOf(error, EngineDeadError);
    assert(/nccl|allReduce|allGather/i.test(error.message), error.message);
  });
});
