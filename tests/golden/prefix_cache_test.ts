/**
 * Requests that begin alike, one after the other and together, on every kind of layout: those that take blocks from
 * the prefix cache give the same tokens and log-probabilities to the bit as those that compute them.
 */
import { assert, assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions, GenerateRequest } from "../../src/engine/types.ts";
import { gpuCount } from "../gpu/_device.ts";
import { goldenFolder } from "./golden_case.ts";

const LAYOUTS: Partial<EngineOptions>[] = [
  {},
  { tensorParallelSize: 2 },
  { pipelineParallelSize: 2 },
  { tensorParallelSize: 2, pipelineParallelSize: 2 },
];

/** Tokens of a prompt that begins as all of its kind do. */
function prompt(length: number, own: number): number[] {
  return Array.from({ length }, (_, i) => 2 + (i < 50 ? 3 * i : 7 * i + own) % 300);
}

/** The first runs before the others, which begin like it; two of these draw. */
const FIRST: readonly GenerateRequest[] = [{ promptTokenIds: prompt(60, 0) }];
const REST: readonly GenerateRequest[] = [
  { promptTokenIds: prompt(60, 0) },
  { promptTokenIds: prompt(80, 1) },
  { promptTokenIds: prompt(64, 2) },
  { promptTokenIds: prompt(48, 0), sampling: { temperature: 0.9, topP: 0.9, seed: 5n } },
  { promptTokenIds: prompt(33, 0), sampling: { temperature: 1.2, seed: 6n } },
];

interface Collected {
  readonly tokenIds: number[];
  readonly logprobs: unknown[];
}

async function collect(
  engine: LlmEngine,
  { sampling, ...request }: GenerateRequest,
): Promise<Collected & { readonly cachedTokens: number }> {
  const all = { tokenIds: [] as number[], logprobs: [] as unknown[], cachedTokens: 0 };
  const params = { temperature: 0, ignoreEos: true, maxTokens: 20, logprobs: 3, ...sampling };
  for await (const chunk of engine.generate({ ...request, sampling: params })) {
    all.tokenIds.push(...chunk.tokenIds);
    all.logprobs.push(...chunk.logprobs ?? []);
    all.cachedTokens += chunk.cachedTokens ?? 0;
  }
  return all;
}

/** What all requests give: the first one alone, the others together, and then all of them again. */
async function run(options: Partial<EngineOptions>, family: string) {
  await using engine = await LlmEngine.load({
    model: goldenFolder(family),
    device: "cpu",
    text: null,
    threads: 1,
    numKvBlocks: 40,
    maxNumBatchedTokens: 24,
    maxNumSeqs: 6,
    ...options,
  });
  const rounds = [];
  for (const requests of [FIRST, REST, [...FIRST, ...REST]]) {
    rounds.push(await Promise.all(requests.map((request) => collect(engine, request))));
  }
  const answers = rounds.flat().map(({ tokenIds, logprobs }) => ({ tokenIds, logprobs }));
  return {
    answers,
    cached: rounds.flat().map((answer) => answer.cachedTokens),
    stats: engine.stats,
  };
}

for (const [family, kvCacheDtype] of [["llama", "auto"], ["mistral", "int8"]] as const) {
  Deno.test(`prefix cache: ${family} with a cache of ${kvCacheDtype} gives the same bits`, async () => {
    const computed = await run({ kvCacheDtype, enablePrefixCaching: false }, family);
    assert(computed.cached.every((tokens) => tokens === 0));
    for (const layout of LAYOUTS) {
      const { answers, cached, stats } = await run({ kvCacheDtype, ...layout }, family);
      assertEquals(answers, computed.answers);
      assertEquals(cached.slice(0, 6), [0, 48, 48, 48, 32, 32]);
      assert(cached.slice(6).every((tokens) => tokens >= 32), `little was cached: ${cached}`);
      assertEquals(stats.prefixCacheHits, cached.reduce((sum, tokens) => sum + tokens));
    }
  });
}

Deno.test({
  name: "prefix cache: on a GPU greedy tokens are those of a prompt that was computed",
  ignore: (await gpuCount()) < 1,
  async fn() {
    await using engine = await LlmEngine.load({
      model: goldenFolder("llama"),
      device: "cuda",
      dtype: "f32",
      launcher: "thread",
      text: null,
      ...{ numKvBlocks: 8, maxNumSeqs: 1, maxNumBatchedTokens: 16 },
    });
    const request = { promptTokenIds: prompt(36, 0), sampling: { maxTokens: 3 } };
    const computed = await collect(engine, request);
    const found = await collect(engine, request);
    assertEquals([computed.cachedTokens, found.cachedTokens], [0, 32]);
    assertEquals(found.tokenIds, computed.tokenIds);
  },
});
