/** Replicas that share packed weights: the same bits as alone, packed once, whoever of them lives. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type EngineConfig, resolveEngineConfig } from "../../src/engine/engine_config.ts";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { isPacked } from "../../src/engine/packed_weights.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { WeightStore } from "../../src/tensor/cpu/weight_store.ts";
import { answer, goldenFolder, readGoldenCase } from "./golden_case.ts";

const MODEL = goldenFolder("mixtral");
const GOLDEN = readGoldenCase("mixtral");

const OPTIONS: EngineOptions = {
  model: MODEL,
  device: "cpu",
  dtype: "bf16",
  tensorParallelSize: 2,
  numKvBlocks: 32,
  threads: 1,
};

function load(options: Partial<EngineOptions> = {}): Promise<LlmEngine> {
  return LlmEngine.load({ ...OPTIONS, text: null, ...options });
}

function configOf(options: Partial<EngineOptions>): EngineConfig {
  return resolveEngineConfig({ ...OPTIONS, ...options });
}

function ask(engine: LlmEngine) {
  return answer(engine, GOLDEN, { maxTokens: 6, draw: false });
}

function packed({ info }: LlmEngine): string {
  return String(info.backend.packedWeights);
}

/** A replica that others join; null, and a line that says so, where the system lets nobody share. */
async function firstReplica(store: WeightStore): Promise<LlmEngine | null> {
  const engine = await load({ weightStore: store.handle, launcher: "process" });
  if (!packed(engine).startsWith("not shared")) return engine;
  await engine[Symbol.asyncDispose]();
  console.warn("NOT CHECKED: shared weights, as the system has no huge pages for shared memory");
  return null;
}

Deno.test("replicas in several processes share weights, and outlive who packed them", async () => {
  using store = WeightStore.create();
  await using first = await firstReplica(store);
  if (first === null) return;
  assertMatch(packed(first), /^[\d.]+ \wB a rank, packed here for all replicas of the host$/);
  const shared = await ask(first);
  await using second = await load({ weightStore: store.handle });
  assertMatch(packed(second), /, packed by another replica of the host$/);
  assertEquals(await ask(second), shared);

  for (const pid of first.pids) Deno.kill(pid, "SIGKILL");
  assertEquals(await ask(second), shared);
  await using third = await load({ weightStore: store.handle });
  assertMatch(packed(third), /, packed by another replica/);
  assertEquals(await ask(third), shared);

  await using alone = await load();
  assertEquals(await ask(alone), shared);
  assertEquals(alone.info.backend.packedWeights, undefined);

  // Other layouts and formats are other weights.
  await using other = await load({ weightStore: store.handle, quantization: "int8" });
  assertMatch(packed(other), /, packed here for all replicas/);
});

Deno.test("a second set of weights is shared like the first, and other files are other weights", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const { name } of Deno.readDirSync(MODEL)) {
      Deno.copyFileSync(`${MODEL}/${name}`, `${folder}/${name}`);
    }
    using store = WeightStore.create();
    await using first = await firstReplica(store);
    if (first === null) return;
    await using second = await load({ weightStore: store.handle, model: folder });
    assertMatch(packed(second), /, packed here/);
    const before = await ask(first);
    assert(isPacked(configOf({ model: folder, weightStore: store.handle })));
    assert(!isPacked(configOf({ weightStore: store.handle, quantization: "int4" })));
    assert(!isPacked(configOf({ model: folder })));
    await first.prepareWeights({ model: folder, version: "copy" });
    first.activateWeights();
    await first.releaseWeights();
    assertEquals(await ask(first), before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("WebAssembly kernels share no weights", async () => {
  using store = WeightStore.create();
  await assertRejects(
    () => load({ weightStore: store.handle, device: "wasm" }),
    RangeError,
    "Cannot share packed weights as WebAssembly kernels reach their own memory only",
  );
});
