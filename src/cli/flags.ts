/**
 * Every flag of every command: name (as vLLM spells it), kind, default and help.
 * @module
 */
import { MAX_PENALTY, REPETITION_PENALTIES } from "../engine/logit_params.ts";
import { PRESET_NAMES } from "../models/presets.ts";
import { BALANCING_POLICY_NAMES, type BalancingPolicyName } from "../routing/policies/mod.ts";
import {
  choice,
  type Flag,
  integer,
  integers,
  number,
  onOff,
  size,
  text,
  texts,
  unsigned64,
} from "./flag_types.ts";

/** Flags of one command by name, without the leading dashes. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** Seconds that timers take. */
const SECONDS = 2_000_000;
const COUNT = 2 ** 31 - 1;
const DTYPES = {
  f32: "f32",
  float32: "f32",
  float: "f32",
  bf16: "bf16",
  bfloat16: "bf16",
  f16: "f16",
  float16: "f16",
  half: "f16",
} as const;

const BALANCING_POLICIES = Object.fromEntries(
  BALANCING_POLICY_NAMES.map((name) => [name, name]),
) as { readonly [Name in BalancingPolicyName]: Name };

/** Flags that lay out an engine; common to serve, generate, bench and inspect. */
export const ENGINE_FLAGS = {
  "model": text({
    placeholder: "DIR",
    shownDefault: "a built-in demo model",
    help: "Folder of a Hugging Face checkpoint",
  }),
  "tensor-parallel-size": integer({
    min: 1,
    max: 1024,
    fallback: 1,
    help: "Ranks that share each layer",
  }),
  "pipeline-parallel-size": integer({ min: 1, max: 1024, fallback: 1, help: "Pipeline stages" }),
  "pipeline-layers": integers({
    min: 1,
    max: 1024,
    shownDefault: "cut by cost",
    help: "Decoder layers of each pipeline stage",
  }),
  "data-parallel-size": integer({
    min: 1,
    max: 1024,
    fallback: 1,
    help: "Replicas of the model behind one router",
  }),
  "max-model-len": integer({
    min: 1,
    max: COUNT,
    shownDefault: "the model's",
    help: "Positions a request may take, prompt and output together",
  }),
  "max-num-seqs": integer({
    min: 1,
    max: 65536,
    shownDefault: "64, on GPUs 256",
    help: "Requests that a replica runs at once",
  }),
  "max-num-batched-tokens": integer({
    min: 1,
    max: COUNT,
    shownDefault: "256, on GPUs 8192",
    help: "Tokens that a replica computes in one step",
  }),
  "num-kv-blocks": integer({
    min: 1,
    max: COUNT,
    help: "KV cache blocks of a replica, 16 tokens each; overrides --kv-cache-memory",
  }),
  "kv-cache-memory": size({
    shownDefault: "a quarter of the free memory, shared by the replicas; on GPUs what is left",
    help: "KV cache bytes of a replica, over all its ranks",
  }),
  "scheduling-policy": choice({
    values: { fcfs: "fcfs", priority: "priority" },
    fallback: "fcfs",
    help: "Who is served first: who came first, or whose priority in the request is lower",
  }),
  "enable-prefix-caching": onOff({
    fallback: true,
    help: "Keep what requests have computed, for those that begin alike",
  }),
  "gpu-memory-utilization": number({
    min: 0.01,
    max: 1,
    shownDefault: "0.9",
    help: "Share of each GPU's memory that may be used, by other processes too",
  }),
  "device": choice({
    values: { auto: "auto", cpu: "cpu", cuda: "cuda", wasm: "wasm" },
    fallback: "auto",
    help: "Where to compute; auto is cuda where a GPU can be used; wasm needs no C compiler",
  }),
  "dtype": choice({
    values: { auto: "auto", ...DTYPES },
    fallback: "auto",
    help: "Type of the weights; auto is the checkpoint's own (also float32, bfloat16, float16)",
  }),
  "quantization": choice({
    values: { int8: "int8", int4: "int4" },
    shownDefault: "as the checkpoint is",
    help: "Quantise the linear layers of a dense checkpoint while it is loaded",
  }),
  "kv-cache-dtype": choice({
    values: { auto: "auto", ...DTYPES, int8: "int8" },
    fallback: "auto",
    help: "Type of keys and values; auto is bf16, f32 where products are exact, on GPUs theirs",
  }),
  "load-format": choice({
    values: { safetensors: "safetensors", dummy: "dummy" },
    fallback: "safetensors",
    help:
      "Weights of the model's files, or dummy: random ones for its config.json, to measure speed",
  }),
  "launcher": choice({
    values: { thread: "thread", process: "process" },
    shownDefault: "thread, on GPUs process",
    help: "How ranks are started",
  }),
  "enforce-eager": onOff({ help: "On GPUs: record no decode steps as CUDA graphs" }),
  "threads": integer({
    min: 1,
    max: 1024,
    shownDefault: "cores / (ranks x replicas), on GPUs 1",
    help: "Threads of each rank",
  }),
  "seed": unsigned64({
    shownDefault: "random",
    help: "Seed of requests that bring none of their own",
  }),
} satisfies FlagTable;

/** Flags of `weft serve`. */
export const SERVE_FLAGS = {
  "host": text({ placeholder: "ADDRESS", fallback: "127.0.0.1", help: "Address to listen on" }),
  "port": integer({ min: 0, max: 65535, fallback: 8000, help: "Port to listen on; 0 is any free" }),
  "served-model-name": text({
    placeholder: "NAME",
    shownDefault: "the folder's name",
    help: "Name of the model in the API",
  }),
  "api-key": texts({
    placeholder: "KEY",
    help: "Key that every API request must bring; may be repeated: one of them then",
  }),
  "api-key-file": text({
    placeholder: "FILE",
    help: "File with such a key on each line; empty lines and those that begin with # do not count",
  }),
  "admin-api-key": text({
    placeholder: "KEY",
    shownDefault: "--api-key",
    help: "Key that requests below /admin must bring instead",
  }),
  "key-concurrency": integer({
    min: 1,
    max: COUNT,
    shownDefault: "no limit",
    help: "Requests that each key may have inside at once; more are answered with 429",
  }),
  "key-requests-per-minute": integer({
    min: 1,
    max: 1_000_000,
    shownDefault: "no limit",
    help: "Requests that each key may send in any 60 seconds; more are answered with 429",
  }),
  "log-format": choice({
    values: { text: "text", json: "json" },
    fallback: "text",
    help: "How log lines are written; with json each is an object",
  }),
  "enable-log-requests": onOff({ help: "Log each request that was answered, with its id" }),
  "balancing-policy": choice({
    values: BALANCING_POLICIES,
    fallback: "least-loaded",
    help: "How a replica is chosen for a request",
  }),
  "max-requests": integer({
    min: 1,
    max: COUNT,
    fallback: 1024,
    help: "Requests inside a replica at most, those that wait too; more are answered with 429",
  }),
  "hedge-after": number({
    min: 0.001,
    max: 3600,
    placeholder: "SECONDS",
    shownDefault: "never",
    help: "Send a stream that has not begun by then to a second replica, too; the first byte wins",
  }),
  "data-parallel-rank": integer({
    min: 0,
    max: 1023,
    placeholder: "R",
    help: "Serve only this one of the replicas, with its share of the host",
  }),
  "weight-store": text({
    placeholder: "PATH",
    help: "Share packed weights with other replicas through this store of whoever started them",
  }),
  "weight-version": text({
    placeholder: "NAME",
    shownDefault: "a hash",
    help: "Name of the weights in answers and metrics",
  }),
  "exit-with-stdin": onOff({
    help: "End when standard input does, and leave Ctrl-C to whoever started this process",
  }),
  ...ENGINE_FLAGS,
} satisfies FlagTable;

/** Flags of `weft route`. */
export const ROUTE_FLAGS = {
  "replica": text({
    placeholder: "URL[=WEIGHT]",
    repeatable: true,
    help: "Server to send requests to; dns://NAME:PORT is every address of a name; may be repeated",
  }),
  "replicas-file": text({
    placeholder: "FILE",
    help: "File with a replica on each line, read again when it may have changed",
  }),
  "replica-api-key": text({
    placeholder: "KEY",
    help: "Key that replicas ask for; without it clients' own keys are passed on",
  }),
  "replica-admin-api-key": text({
    placeholder: "KEY",
    shownDefault: "--replica-api-key",
    help: "Key that replicas ask for below /admin, where updates of weights go",
  }),
  "balancing-policy": SERVE_FLAGS["balancing-policy"],
  "max-concurrency": integer({
    min: 1,
    max: COUNT,
    shownDefault: "no limit",
    help: "Requests that a replica gets at once; more wait in the router",
  }),
  "hedge-after": SERVE_FLAGS["hedge-after"],
  "max-requests": integer({
    min: 1,
    max: COUNT,
    fallback: 16384,
    help: "Requests inside the router at most; more are answered with 429",
  }),
  "probe-interval": number({
    min: 0.1,
    max: 3600,
    fallback: 5,
    help: "Seconds between two probes of a replica, and that one may take",
  }),
  "host": SERVE_FLAGS.host,
  "port": SERVE_FLAGS.port,
  "api-key": SERVE_FLAGS["api-key"],
  "api-key-file": SERVE_FLAGS["api-key-file"],
  "admin-api-key": SERVE_FLAGS["admin-api-key"],
  "key-concurrency": SERVE_FLAGS["key-concurrency"],
  "key-requests-per-minute": SERVE_FLAGS["key-requests-per-minute"],
  "log-format": SERVE_FLAGS["log-format"],
  "enable-log-requests": SERVE_FLAGS["enable-log-requests"],
} satisfies FlagTable;

/** Flags of `weft update`. */
export const UPDATE_FLAGS = {
  "url": text({
    placeholder: "URL",
    fallback: "http://127.0.0.1:8000",
    help: "Router or server to update",
  }),
  "strategy": choice({
    values: {
      "synchronous": "synchronous",
      "rolling": "rolling",
      "blue-green": "blue-green",
      "canary": "canary",
    },
    fallback: "rolling",
    help: "How replicas get the weights",
  }),
  "model": text({
    placeholder: "DIR",
    help: "Folder of the new weights, by a path that the replicas know",
  }),
  "sha256": text({
    placeholder: "HEX",
    help: "What the folder must hold: the SHA-256 of what sha256sum prints of its files, by name",
  }),
  "weight-version": text({
    placeholder: "NAME",
    shownDefault: "a hash",
    help: "Name of the weights in answers and metrics",
  }),
  "golden": text({
    placeholder: "FILE",
    help: 'Prompts that must be answered: JSON lines of {"prompt": ids or text, "expected": ids}',
  }),
  "grace": number({
    min: 0,
    max: SECONDS,
    placeholder: "SECONDS",
    shownDefault: "600",
    help: "Time that requests of a replica have to end before its weights change",
  }),
  "max-unavailable": integer({
    min: 1,
    max: 1024,
    shownDefault: "1",
    help: "With rolling: replicas that are out at once",
  }),
  "keep": number({
    min: 0,
    max: SECONDS,
    placeholder: "SECONDS",
    shownDefault: "0",
    help: "With blue-green: time that the old weights stay loaded for --revert",
  }),
  "share": number({
    min: 1e-6,
    max: 1,
    shownDefault: "0.1",
    help: "With canary: share of the requests that the new weights get",
  }),
  "duration": number({
    min: 0,
    max: SECONDS,
    placeholder: "SECONDS",
    shownDefault: "60",
    help: "With canary: time to watch at least",
  }),
  "min-requests": integer({
    min: 0,
    max: COUNT,
    shownDefault: "100",
    help: "With canary: requests to watch at least",
  }),
  "timeout": number({
    min: 0,
    max: SECONDS,
    placeholder: "SECONDS",
    shownDefault: "3600",
    help: "With canary: time after which too few requests mean failure",
  }),
  "max-error-rate": number({
    min: 0,
    max: 1,
    shownDefault: "0.01",
    help: "With canary: share of its requests that it may fail beyond what the others fail",
  }),
  "max-latency-ratio": number({
    min: 0.01,
    max: 1e6,
    shownDefault: "2",
    help: "With canary: times as long as the others' that its median answer may take",
  }),
  "revert": onOff({ help: "Switch back to the weights that the last update keeps" }),
  "api-key": text({ placeholder: "KEY", help: "Key that the server asks for" }),
  "admin-api-key": text({
    placeholder: "KEY",
    help: "Key that the server asks for on its admin routes",
  }),
} satisfies FlagTable;

/** Flags of `weft update` that only some strategies have, and their names in the API. */
export const STRATEGY_PARAMETERS = [
  ["grace", "grace_seconds", ["synchronous", "rolling", "canary"]],
  ["max-unavailable", "max_unavailable", ["rolling"]],
  ["keep", "keep_seconds", ["blue-green"]],
  ["share", "share", ["canary"]],
  ["duration", "duration_seconds", ["canary"]],
  ["timeout", "timeout_seconds", ["canary"]],
  ["min-requests", "min_requests", ["canary"]],
  ["max-error-rate", "max_error_rate", ["canary"]],
  ["max-latency-ratio", "max_latency_ratio", ["canary"]],
] as const satisfies readonly (readonly [keyof typeof UPDATE_FLAGS, string, readonly string[]])[];

/** Flags of `weft generate`. */
export const GENERATE_FLAGS = {
  "prompt": text({
    repeatable: true,
    help: "Text to continue as it is, without chat template; may be repeated",
  }),
  "prompt-ids": text({
    placeholder: "1,2,3",
    repeatable: true,
    help: "Token ids to continue; may be repeated",
  }),
  "max-tokens": integer({
    min: 0,
    max: COUNT,
    shownDefault: "16",
    help: "Tokens to generate at most; 0 needs --prompt-logprobs",
  }),
  "temperature": number({
    min: 0,
    max: 1e6,
    shownDefault: "the model's, or 1",
    help: "Divides the logits; 0 takes the most likely token",
  }),
  "top-p": number({
    min: 1e-9,
    max: 1,
    shownDefault: "the model's, or 1",
    help: "Keep the smallest set of tokens that is this likely together",
  }),
  "top-k": integer({
    min: 0,
    max: COUNT,
    shownDefault: "the model's, or 0",
    help: "Keep the k most likely tokens; 0 keeps all",
  }),
  "min-p": number({
    min: 0,
    max: 1,
    shownDefault: "the model's, or 0",
    help: "Keep tokens at least this likely relative to the best",
  }),
  "presence-penalty": number({
    min: -MAX_PENALTY,
    max: MAX_PENALTY,
    shownDefault: "0",
    help: "Taken off the logit of every token that was generated",
  }),
  "frequency-penalty": number({
    min: -MAX_PENALTY,
    max: MAX_PENALTY,
    shownDefault: "0",
    help: "Taken off a token's logit for each time that it was generated",
  }),
  "repetition-penalty": number({
    ...REPETITION_PENALTIES,
    shownDefault: "the model's, or 1",
    help: "Divides positive logits of tokens in prompt and output; multiplies others",
  }),
  "bad-words": text({
    repeatable: true,
    help: "Text that is not generated, a word in a text too; may be repeated",
  }),
  "min-tokens": integer({
    min: 0,
    max: COUNT,
    shownDefault: "0",
    help: "Tokens before which nothing ends the output",
  }),
  "stop": text({ repeatable: true, help: "Text that ends the output; may be repeated" }),
  "ignore-eos": onOff({ help: "Go on past the model's end tokens" }),
  "logprobs": integer({
    min: -1,
    max: COUNT,
    placeholder: "K",
    help: "With --json: log-probabilities of the K top tokens; -1 the whole vocabulary",
  }),
  "prompt-logprobs": onOff({ help: "With --json: log-probabilities of the prompt's tokens" }),
  "json": onOff({ help: "Print one JSON object a prompt" }),
  ...ENGINE_FLAGS,
} satisfies FlagTable;

/** Flags of `weft run-batch`. */
export const RUN_BATCH_FLAGS = {
  "input": text({
    placeholder: "FILE",
    short: "i",
    help: "Requests: a line each, as OpenAI's batches have them",
  }),
  "output": text({ placeholder: "FILE", short: "o", help: "Where the answers go, a line each" }),
  "resume": onOff({
    help: "Go on with an output that holds answers already: what failed or is missing is run",
  }),
  "order": choice({
    values: { input: "input", completion: "completion" },
    fallback: "completion",
    help: "Write answers in the order of the requests, or as soon as they are ready",
  }),
  "replica": text({
    placeholder: "URL[=WEIGHT]",
    repeatable: true,
    help: "Server that answers, instead of a model that is loaded here; may be repeated",
  }),
  "replica-api-key": text({ placeholder: "KEY", help: "Key that these servers ask for" }),
  "max-concurrency": integer({
    min: 1,
    max: COUNT,
    shownDefault: "64, of a model loaded here --max-num-seqs and an eighth more",
    help: "Requests that a replica has at once",
  }),
  "measure-scaling": onOff({
    help: "Let one replica answer a share alone, then all, and tell their scaling efficiency",
  }),
  "json": onOff({ help: "Print the summary as one JSON object" }),
  "served-model-name": SERVE_FLAGS["served-model-name"],
  ...ENGINE_FLAGS,
} satisfies FlagTable;

/** Flags of `weft init-model`. */
export const INIT_MODEL_FLAGS = {
  "preset": text({ placeholder: "NAME", help: `Shape of a model: ${PRESET_NAMES.join(", ")}` }),
  "config": text({ placeholder: "FILE", help: "config.json that gives the shape instead" }),
  "seed": unsigned64({ shownDefault: "0", help: "Seed of the random weights" }),
  "dtype": choice({
    values: DTYPES,
    fallback: "bf16",
    help: "Type of the weights (also float32, bfloat16, float16)",
  }),
  "out": text({
    placeholder: "DIR",
    help: "Folder to write; one that holds a checkpoint is refused",
  }),
} satisfies FlagTable;

/** Flags of `weft quantize`. */
export const QUANTIZE_FLAGS = {
  "model": text({ placeholder: "DIR", help: "Folder of a dense Hugging Face checkpoint" }),
  "method": choice({
    values: { int8: "int8", int4: "int4" },
    help: "int8 writes compressed-tensors (W8A8, a scale an output), int4 AWQ (GEMM layout)",
  }),
  "out": text({ placeholder: "DIR", help: "Folder to write; one that is not empty is refused" }),
  "group-size": integer({
    min: 1,
    max: COUNT,
    shownDefault: "the largest of 128, 64 and 32 that fits",
    help: "With int4: inputs that share a scale",
  }),
  "calibration": text({
    placeholder: "FILE",
    shownDefault: "a built-in text",
    help: "Text of which one half finds the scales of int4, the other measures the change",
  }),
  "json": onOff({ help: "Print one JSON object" }),
  "threads": integer({ min: 1, max: 1024, shownDefault: "cores", help: "Threads to compute on" }),
} satisfies FlagTable;

/** Flags of `weft bench throughput`. */
export const BENCH_FLAGS = {
  "prompt-tokens": integer({
    min: 1,
    max: COUNT,
    shownDefault: "512, or what the context holds",
    help: "Tokens of each prompt",
  }),
  "decode-tokens": integer({
    min: 1,
    max: COUNT,
    fallback: 128,
    help: "Tokens generated for each prompt",
  }),
  "depth": integer({
    min: 1,
    max: COUNT,
    shownDefault: "the prompt's tokens",
    help: "Positions that lie ahead of the first generated token while decoding is timed",
  }),
  "batch": integer({ min: 1, max: 65536, fallback: 1, help: "Sequences that run together" }),
  "repetitions": integer({
    min: 1,
    max: 1000,
    fallback: 3,
    help: "Timed runs, of which the medians are printed",
  }),
  "json": onOff({ help: "Print one JSON object" }),
  ...ENGINE_FLAGS,
} satisfies FlagTable;

/** Flags of `weft inspect`. */
export const INSPECT_FLAGS = {
  "json": onOff({ help: "Print one JSON object" }),
  ...ENGINE_FLAGS,
  "model": text({
    placeholder: "DIR",
    help: "Folder of a Hugging Face checkpoint; without one the machine alone is described",
  }),
} satisfies FlagTable;
