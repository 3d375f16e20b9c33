/**
 * Prometheus metrics, under vLLM's names where it has one.
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineStats, FinishReason } from "../engine/types.ts";
import type { UpdatableWeights } from "../engine/weights.ts";
import type { ReplicaRouter } from "./replica_router.ts";

const LABELS = ["model_name", "engine"] as const;
type Label = typeof LABELS[number];

const FIRST_TOKEN_BUCKETS = [
  0.001,
  0.005,
  0.01,
  0.02,
  0.04,
  0.06,
  0.08,
  0.1,
  0.25,
  0.5,
  0.75,
  1,
  2.5,
  5,
  7.5,
  10,
  20,
  40,
  80,
  160,
  640,
  2560,
];
const LATENCY_BUCKETS = [
  0.3,
  0.5,
  0.8,
  1,
  1.5,
  2,
  2.5,
  5,
  10,
  15,
  20,
  30,
  40,
  50,
  60,
  120,
  240,
  480,
  960,
  1920,
  7680,
];

const GAUGES: readonly (readonly [string, string, (stats: EngineStats) => number])[] = [
  ["vllm:num_requests_running", "Requests that hold KV blocks", (s) => s.running],
  ["vllm:num_requests_waiting", "Requests that wait", (s) => s.waiting],
  ["vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1", usedShare],
  ["vllm:gpu_cache_usage_perc", "Share of the KV blocks in use, by its older name", usedShare],
  ["weft:kv_blocks_free", "KV blocks that are free", (s) => s.kvBlocksFree],
  ["weft:kv_blocks_total", "KV blocks", (s) => s.kvBlocksTotal],
];

const COUNTERS: readonly (readonly [string, string, (stats: EngineStats) => number])[] = [
  ["vllm:num_preemptions_total", "Preemptions", (s) => s.preemptions],
  [
    "vllm:prefix_cache_queries_total",
    "Tokens of prompts that were looked for in the prefix cache",
    (s) => s.prefixCacheQueries,
  ],
  [
    "vllm:prefix_cache_hits_total",
    "Tokens of prompts that the prefix cache had",
    (s) => s.prefixCacheHits,
  ],
  ["vllm:prompt_tokens_total", "Prompt tokens, cached ones too", (s) => s.promptTokens],
  ["vllm:generation_tokens_total", "Tokens generated", (s) => s.generationTokens],
  ["weft:steps_total", "Engine steps that have retired", (s) => s.steps],
];

/**
 * The metrics of one server, in a registry of its own. Engines' values are read when they are
 * asked for; the server's own (latencies, ends) are observed as they happen.
 */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #modelName: string;
  readonly #firstToken: Histogram<Label>;
  readonly #latency: Histogram<Label>;
  readonly #success: Counter<Label | "finished_reason">;

  /** Reads the engines of `router`, and the version of `weights`, if any. */
  constructor(
    router: ReplicaRouter,
    options: { readonly modelName: string; readonly weights: UpdatableWeights | null },
  ) {
    this.#modelName = options.modelName;
    const registers = [this.#registry];
    for (const [name, help, read] of GAUGES) {
      this.#gauge(name, help, () => router.replicas.map(({ stats }) => read(stats)));
    }
    this.#gauge(
      "weft:engine_up",
      "1 while the engine serves, 0 when it has died",
      () => router.replicas.map(({ healthy }) => healthy ? 1 : 0),
    );
    for (const [name, help, read] of COUNTERS) {
      const labelsOf = (engine: number) => this.#labels(engine);
      new Counter<Label>({
        name,
        help,
        labelNames: LABELS,
        registers,
        collect() {
          this.reset();
          router.replicas.forEach(({ stats }, engine) => this.inc(labelsOf(engine), read(stats)));
        },
      });
    }
    if (options.weights !== null) this.#version(options.weights);
    this.#success = new Counter({
      name: "vllm:request_success_total",
      help: "Requests that have ended, by reason",
      labelNames: [...LABELS, "finished_reason"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "vllm:time_to_first_token_seconds",
      help: "Time from a request's arrival to its first token",
      labelNames: LABELS,
      buckets: FIRST_TOKEN_BUCKETS,
      registers,
    });
    this.#latency = new Histogram({
      name: "vllm:e2e_request_latency_seconds",
      help: "Time from a request's arrival to its last token",
      labelNames: LABELS,
      buckets: LATENCY_BUCKETS,
      registers,
    });
  }

  /** Media type of {@linkcode text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** A request of `engine` has got its first token. */
  observeFirstToken(engine: number, seconds: number): void {
    this.#firstToken.observe(this.#labels(engine), seconds);
  }

  /** A request of `engine` has ended. */
  observeEnd(engine: number, reason: FinishReason, seconds: number): void {
    this.#success.inc({ ...this.#labels(engine), finished_reason: reason });
    this.#latency.observe(this.#labels(engine), seconds);
  }

  /** One series at a time: of the version that new requests get. */
  #version(weights: UpdatableWeights): void {
    const modelName = this.#modelName;
    new Gauge({
      name: "weft:weight_version",
      help: "1 for the version of the weights that new requests get",
      labelNames: ["model_name", "version"],
      registers: [this.#registry],
      collect() {
        this.reset();
        this.set({ model_name: modelName, version: weights.weights.current.version }, 1);
      },
    });
  }

  #labels(engine: number): Record<Label, string> {
    return { model_name: this.#modelName, engine: String(engine) };
  }

  #gauge(name: string, help: string, readAll: () => readonly number[]): void {
    const labelsOf = (engine: number) => this.#labels(engine);
    new Gauge<Label>({
      name,
      help,
      labelNames: LABELS,
      registers: [this.#registry],
      collect() {
        readAll().forEach((value, engine) => this.set(labelsOf(engine), value));
      },
    });
  }
}

function usedShare({ kvBlocksFree, kvBlocksTotal }: EngineStats): number {
  return kvBlocksTotal === 0 ? 0 : 1 - kvBlocksFree / kvBlocksTotal;
}
