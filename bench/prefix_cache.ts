/**
 * What the prefix cache saves, with random weights of a real shape:
 * `deno run -A bench/prefix_cache.ts [--model DIR] [--runs N]`.
 *
 * First the time to the first token of a prompt whose beginning nobody has computed, and of another one that begins
 * like it; then a load of requests that share a beginning, with the cache and kept out of it, in turns.
 * @module
 */
import { parseArgs } from "node:util";
import { LlmEngine } from "../src/engine/llm_engine.ts";
import { presetConfig } from "../src/models/presets.ts";

const PREFIX_TOKENS = 2048;
const OWN_TOKENS = 32;
const LOAD = { prefix: 1024, requests: 32, clients: 8, maxTokens: 16 };

interface Served {
  readonly firstTokenMs: number;
  readonly cachedTokens: number;
}

const { values } = parseArgs({
  options: { model: { type: "string" }, runs: { type: "string", default: "3" } },
});
const runs = Number(values.runs);

using folder = modelFolder(values.model);
await using engine = await LlmEngine.load({
  model: folder.path,
  loadFormat: "dummy",
  maxModelLen: PREFIX_TOKENS + OWN_TOKENS + 16,
  text: null,
});
const { vocabSize } = engine.info;
let nextPrompt = 0;

/** Tokens that no prompt before has begun with. */
function freshTokens(length: number): number[] {
  const seed = nextPrompt++;
  return Array.from({ length }, (_, i) => (seed * 7919 + i * 104_729 + i * i) % vocabSize);
}

async function serve(
  promptTokenIds: readonly number[],
  { maxTokens, cachePrompt = true }: { readonly maxTokens: number; readonly cachePrompt?: boolean },
): Promise<Served> {
  const start = performance.now();
  const sampling = { temperature: 0, ignoreEos: true, maxTokens };
  let first: Served | null = null;
  for await (const chunk of engine.generate({ promptTokenIds, sampling, cachePrompt })) {
    first ??= {
      firstTokenMs: performance.now() - start,
      cachedTokens: chunk.cachedTokens ?? 0,
    };
  }
  return first!;
}

async function firstTokens(): Promise<{ cold: number; warm: number; cachedTokens: number }> {
  const prefix = freshTokens(PREFIX_TOKENS);
  const one = () => serve([...prefix, ...freshTokens(OWN_TOKENS)], { maxTokens: 2 });
  const cold = await one();
  const warm = await one();
  return { cold: cold.firstTokenMs, warm: warm.firstTokenMs, cachedTokens: warm.cachedTokens };
}

/** Requests in a second. */
async function load(cachePrompt: boolean): Promise<number> {
  const prefix = freshTokens(LOAD.prefix);
  let left = LOAD.requests;
  const start = performance.now();
  await Promise.all(Array.from({ length: LOAD.clients }, async () => {
    while (left-- > 0) {
      const { maxTokens } = LOAD;
      await serve([...prefix, ...freshTokens(OWN_TOKENS)], { maxTokens, cachePrompt });
    }
  }));
  return LOAD.requests / ((performance.now() - start) / 1000);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

function modelFolder(given: string | undefined): Disposable & { readonly path: string } {
  if (given !== undefined) return { path: given, [Symbol.dispose]() {} };
  const path = Deno.makeTempDirSync();
  const shape = presetConfig("smollm-135m");
  const config = { ...shape, max_position_embeddings: 4096, torch_dtype: "bfloat16" };
  Deno.writeTextFileSync(`${path}/config.json`, JSON.stringify(config));
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

await serve(freshTokens(256), { maxTokens: 4 });
const firsts = [];
for (let i = 0; i < runs; i++) firsts.push(await firstTokens());
console.log(
  `first token of ${PREFIX_TOKENS} + ${OWN_TOKENS} tokens: ` +
    `${median(firsts.map(({ cold }) => cold)).toFixed(0)} ms computed, ` +
    `${median(firsts.map(({ warm }) => warm)).toFixed(0)} ms with ${
      firsts[0].cachedTokens
    } cached: ` +
    `${median(firsts.map(({ cold, warm }) => cold / warm)).toFixed(1)} times sooner`,
);

const rates: { off: number; on: number }[] = [];
let [queries, hits] = [0, 0];
for (let i = 0; i < Math.ceil(runs / 2); i++) {
  const off = await load(false);
  const before = engine.stats;
  rates.push({ off, on: await load(true) });
  queries += engine.stats.prefixCacheQueries - before.prefixCacheQueries;
  hits += engine.stats.prefixCacheHits - before.prefixCacheHits;
}
console.log(
  `${LOAD.clients} clients, ${LOAD.prefix} shared + ${OWN_TOKENS} tokens in, ${LOAD.maxTokens} out: ` +
    `${median(rates.map(({ off }) => off)).toFixed(2)} requests/s without the cache, ` +
    `${median(rates.map(({ on }) => on)).toFixed(2)} with it ` +
    `(${(100 * hits / queries).toFixed(0)} % of prompt tokens hit): ` +
    `${median(rates.map(({ on, off }) => on / off)).toFixed(1)} times`,
);
