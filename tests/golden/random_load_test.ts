/**
 * Random requests on random layouts, many at once, with too few blocks, some cancelled: each that is not
 * cancelled gets exactly what it gets alone on one rank, log-probabilities included.
 */
import { assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions, GenerateRequest, SamplingParams } from "../../src/engine/types.ts";
import { goldenFolder } from "./golden_case.ts";

const SEED = 20260921;
const VOCAB_SIZE = 320;
const NUM_REQUESTS = 60;
const ALLOWED = Array.from({ length: 40 }, (_, i) => 3 + 7 * i);
const device = "cpu";

/** Prompts of a few families, which begin alike, up to where each goes its own way. */
const prompts: fc.Arbitrary<number[]> = fc.noBias(fc.record({
  family: fc.nat(2),
  shared: fc.nat(80),
  own: fc.array(fc.integer({ min: 2, max: VOCAB_SIZE - 1 }), {
    minLength: 1,
    maxLength: 40,
    size: "max",
  }),
})).map(({ family, shared, own }) => [
  ...Array.from({ length: shared }, (_, i) => 2 + (family * 97 + i * 13) % (VOCAB_SIZE - 2)),
  ...own,
]);

const requests: fc.Arbitrary<GenerateRequest> = fc.record({
  promptTokenIds: prompts,
  sampling: fc.record({
    maxTokens: fc.integer({ min: 1, max: 50 }),
    temperature: fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 1.5, noNaN: true })),
    topK: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 })),
    topP: fc.oneof(fc.constant(1), fc.double({ min: 0.3, max: 1, noNaN: true })),
    minP: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.2, noNaN: true })),
    seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    ignoreEos: fc.boolean(),
    logprobs: fc.option(fc.integer({ min: 0, max: 5 })),
    promptLogprobs: fc.option(fc.integer({ min: 0, max: 3 })),
    presencePenalty: fc.constantFrom(0, 0, 0, 1.25),
    repetitionPenalty: fc.constantFrom(1, 1, 1, 1.5),
    logitBias: fc.constantFrom<Record<number, number>>({}, {}, { 5: 4, 9: -100, 300: 2.5 }),
    allowedTokenIds: fc.constantFrom(null, null, null, ALLOWED),
  }) as fc.Arbitrary<Partial<SamplingParams>>,
});

const layouts: fc.Arbitrary<Partial<EngineOptions>> = fc.record({
  tensorParallelSize: fc.constantFrom(1, 2, 4),
  pipelineParallelSize: fc.integer({ min: 1, max: 4 }),
  numKvBlocks: fc.integer({ min: 12, max: 40 }),
  maxNumSeqs: fc.integer({ min: 1, max: 30 }),
  maxNumBatchedTokens: fc.integer({ min: 30, max: 250 }),
  threads: fc.integer({ min: 1, max: 2 }),
  launcher: fc.constantFrom("thread", "process"),
});

/**
 * Requests that begin with a block each and end with four, added first and never cancelled: together they
 * outgrow {@linkcode TIGHT}, whatever the timing.
 */
const GROWING: readonly GenerateRequest[] = Array.from({ length: 8 }, (_, i) => ({
  promptTokenIds: [2 + i],
  sampling: { temperature: 0, maxTokens: 60, ignoreEos: true },
}));

const TIGHT: Partial<EngineOptions> = { numKvBlocks: 12, maxNumSeqs: 16, tensorParallelSize: 2 };

/** A cancellation: whether, and after how many tokens. */
const cancellations = fc.option(fc.integer({ min: 0, max: 20 }), { freq: 6 });

interface Collected {
  readonly tokenIds: number[];
  readonly logprobs: unknown[];
  readonly promptLogprobs: unknown;
  readonly finishReason: string | null;
}

async function collect(
  engine: LlmEngine,
  request: GenerateRequest,
  cancelAfter: number | null,
): Promise<Collected> {
  const controller = new AbortController();
  if (cancelAfter === 0) controller.abort();
  const tokenIds: number[] = [];
  const logprobs: unknown[] = [];
  let promptLogprobs: unknown = null;
  let finishReason: string | null = null;
  for await (const chunk of engine.generate({ ...request, signal: controller.signal })) {
    tokenIds.push(...chunk.tokenIds);
    logprobs.push(...chunk.logprobs ?? []);
    promptLogprobs ??= chunk.promptLogprobs ?? null;
    finishReason = chunk.finishReason;
    if (tokenIds.length === cancelAfter) controller.abort();
  }
  return { tokenIds, logprobs, promptLogprobs, finishReason };
}

for (const [index, family] of ["llama", "mistral", "mixtral"].entries()) {
  Deno.test(`random load: ${family} gives each request what it gets alone`, async () => {
    const model = goldenFolder(family);
    const seed = SEED + index;
    const load = [...GROWING, ...fc.sample(requests, { seed, numRuns: NUM_REQUESTS })];
    const alone: Collected[] = [];
    {
      await using engine = await LlmEngine.load({
        ...{ model, device, maxNumSeqs: 1, threads: 1 },
        enablePrefixCaching: false,
      });
      for (const request of load) alone.push(await collect(engine, request, null));
    }
    const cancels = [
      ...GROWING.map(() => null),
      ...fc.sample(cancellations, { seed, numRuns: NUM_REQUESTS }),
    ];
    let hits = 0;
    for (const layout of [TIGHT, ...fc.sample(layouts, { seed, numRuns: 3 })]) {
      await using engine = await LlmEngine.load({ model, device, ...layout });
      const answers = await Promise.all(
        load.map((request, i) => collect(engine, request, cancels[i])),
      );
      answers.forEach((answer, i) => {
        const what = `request ${i} of ${JSON.stringify(layout)}`;
        if (answer.finishReason !== "abort") return assertEquals(answer, alone[i], what);
        assertEquals(answer.tokenIds, alone[i].tokenIds.slice(0, answer.tokenIds.length), what);
      });
      hits += engine.stats.prefixCacheHits;
      if (layout === TIGHT) assertGreater(engine.stats.preemptions, 0);
      // Plans under way still hold blocks of requests that have just ended.
      for (let i = 0; i < 500 && engine.stats.kvBlocksFree < engine.stats.kvBlocksTotal; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assertEquals(engine.stats.kvBlocksFree, engine.stats.kvBlocksTotal);
    }
    assertGreater(hits, 0);
  });
}
