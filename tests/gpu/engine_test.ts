/** Engines on GPUs: how the cache is sized, and what becomes of failures. */
import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { EngineDeadError, type EngineOptions } from "../../src/engine/types.ts";
import { CapacityError } from "../../src/tensor/errors.ts";
import { gpuCount, onEmulator } from "./_device.ts";

const model = new URL("../fixtures/golden/llama", import.meta.url).pathname;
const gpus = await gpuCount();

const LIMITS = { maxModelLen: 64, maxNumSeqs: 2, maxNumBatchedTokens: 16 } as const;

async function load(options: Partial<EngineOptions> = {}): Promise<LlmEngine> {
  return await LlmEngine.load({ model, device: "cuda", ...LIMITS, ...options });
}

/** Generates greedily; returns the number of tokens. */
async function generate(engine: LlmEngine, maxTokens: number): Promise<number> {
  let tokens = 0;
  const request = {
    promptTokenIds: [5, 6, 7],
    sampling: { temperature: 0, ignoreEos: true, maxTokens },
  };
  for await (const { tokenIds } of engine.generate(request)) tokens += tokenIds.length;
  return tokens;
}

/** Sets a variable of the emulator for the ranks that are started until it is disposed. */
function emulate(name: string, value: string): Disposable {
  Deno.env.set(name, value);
  return { [Symbol.dispose]: () => Deno.env.delete(name) };
}

Deno.test({
  name: "a cache of no given size holds what all sequences could fill, where that fits",
  ignore: gpus < 2,
  async fn() {
    await using engine = await load({ tensorParallelSize: 2 });
    assertEquals(engine.stats.kvBlocksTotal, 2 * 4);
    assertEquals(engine.info.maxModelLen, 64);
    assertEquals(engine.info.backend.communicator, "nccl");
    assertEquals(engine.info.backend.launcher, "process");
    assertEquals(engine.info.backend.decodeSteps, "recorded");
    assertEquals(await generate(engine, 3), 3);
  },
});

Deno.test({
  name: "the cache takes what is left of the memory that may be used, the least of all ranks",
  ignore: !onEmulator,
  async fn() {
    // Of what may be used a products' workspace and tables of adjusted logits take most.
    using _ = emulate("WEFT_EMULATED_GPU_MEMORY", String(80 << 20));
    const limits = { maxModelLen: 256, maxNumSeqs: 256, maxNumBatchedTokens: 256 };
    const options = { ...limits, enforceEager: true, gpuMemoryUtilization: 0.7 };
    await using engine = await load({ ...options, pipelineParallelSize: 2 });
    const { kvBlocksTotal } = engine.stats;
    assert(kvBlocksTotal > 16 && kvBlocksTotal < 256 * 16, `${kvBlocksTotal} blocks`);
    assertEquals(engine.info.backend.kvBlocks, kvBlocksTotal);
    assertMatch(String(engine.info.backend.decodeSteps), /^eager/);
  },
});

Deno.test({
  name: "memory that is too small is refused before anything starts, or by the ranks",
  ignore: !onEmulator,
  async fn() {
    {
      using _ = emulate("WEFT_EMULATED_GPU_MEMORY", String(600_000));
      await assertRejects(() => load(), CapacityError, "tensor parallel size 2 needs");
    }
    // The model would fit, but what libraries take was not known.
    using _ = emulate("WEFT_EMULATED_GPU_MEMORY", String(16 << 20));
    await assertRejects(() => load(), Error, "the GPU is out of memory");
  },
});

Deno.test({
  name: "an engine whose GPU hangs can be stopped",
  ignore: !onEmulator,
  async fn() {
    using _ = emulate("WEFT_EMULATED_FAILURES", "hang=900");
    const engine = await load({ numKvBlocks: 8 });
    const generated = assertRejects(() => generate(engine, 60), EngineDeadError);
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assertEquals(engine.healthy, true);
    await engine[Symbol.asyncDispose]();
    assertEquals((await generated).message.includes("the engine was stopped"), true);
    assertLess(performance.now() - start, 15_000);
  },
});
