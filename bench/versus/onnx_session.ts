/**
 * Times an ONNX model in onnxruntime-node, as a process of its own. Its arguments are the folder whose
 * node_modules holds the package, the model, and the numbers in the order below; it prints a line of
 * JSON with tokens a second.
 * @module
 */
import { createRequire } from "node:module";

/** What is used of onnxruntime-node. */
interface OnnxRuntimeModule {
  readonly InferenceSession: {
    create(model: string, options: Readonly<Record<string, unknown>>): Promise<Session>;
  };
  readonly Tensor: new (
    type: string,
    data: Float32Array | BigInt64Array | Int32Array,
    sizes: readonly number[],
  ) => object;
}

interface Session {
  run(inputs: Readonly<Record<string, object>>): Promise<Readonly<Record<string, object>>>;
}

/** Keys and values, by the names of the model's inputs. */
type Cache = Readonly<Record<string, object>>;

const WARM_UP_TOKENS = 4;

const [packageFolder, model, ...numbers] = Deno.args;
const [threads, promptTokens, decodeTokens, depth, layers, kvHeads, headDim, vocabSize] = numbers
  .map(Number);
const runtime: OnnxRuntimeModule = createRequire(`${packageFolder}/package.json`)(
  "onnxruntime-node",
);
const session = await runtime.InferenceSession.create(model, {
  executionProviders: ["cpu"],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: "all",
});

/** Keys and values of no token. */
function emptyCache(): Cache {
  const names = Array.from({ length: layers }, (_, layer) => [
    `past_${layer}_key`,
    `past_${layer}_value`,
  ]).flat();
  const empty = () => new runtime.Tensor("float32", new Float32Array(0), [1, kvHeads, 0, headDim]);
  return Object.fromEntries(names.map((name) => [name, empty()]));
}

/** Runs `tokens` random tokens behind `past` cached ones; resolves with the cache that follows. */
async function step(cache: Cache, past: number, tokens: number): Promise<Cache> {
  const ids = BigInt64Array.from(
    { length: tokens },
    () => BigInt(Math.floor(Math.random() * vocabSize)),
  );
  const total = past + tokens;
  const outputs = await session.run({
    input_ids: new runtime.Tensor("int64", ids, [1, tokens]),
    seqlens_k: new runtime.Tensor("int32", Int32Array.of(total - 1), [1]),
    total_sequence_length: new runtime.Tensor("int32", Int32Array.of(total), [1]),
    ...cache,
  });
  return Object.fromEntries(
    Object.keys(cache).map((name) => [name, outputs[name.replace("past", "present")]]),
  );
}

async function prefill(tokens: number): Promise<Cache> {
  return tokens === 0 ? emptyCache() : await step(emptyCache(), 0, tokens);
}

async function decode(start: Cache, tokens: number): Promise<void> {
  let cache = start;
  for (let i = 0; i < tokens; i++) cache = await step(cache, depth + i, 1);
}

/** Tokens a second of `run`, which computes `tokens`. */
async function rate(tokens: number, run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return tokens / ((performance.now() - start) / 1000);
}

await prefill(promptTokens);
const prefillRate = await rate(promptTokens, () => prefill(promptTokens));
const cache = await prefill(depth);
await decode(cache, WARM_UP_TOKENS);
const decodeRate = await rate(decodeTokens, () => decode(cache, decodeTokens));
console.log(JSON.stringify({ prefill: prefillRate, decode: decodeRate }));
// The addon's threads would keep the process alive.
Deno.exit(0);
