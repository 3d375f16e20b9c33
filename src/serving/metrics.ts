/**
 * Prometheus metrics, under vLLM's names where it has one.
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { EngineStats, FinishReason } from "../engine/types.ts";
import type { UpdatableWeights } from "../engine/weights.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { ReplicaRouter } from "./replica_router.ts";
import { type RequestHistogram, RequestHistograms } from "./request_histograms.ts";

const LABELS = ["model_name", "engine"] as const;
type Label = typeof LABELS[number];

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
  readonly #histograms: RequestHistograms<Label>;
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
    this.#histograms = new RequestHistograms(this.#registry, {
      labelNames: LABELS,
      maxModelLen: router.info.maxModelLen,
    });
    this.#cacheConfig(router);
  }

  /** Media type of {@linkcode text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  async text(): Promise<string> {
    return `${await this.#registry.metrics()}\n${await this.#histograms.olderNames()}\n`;
  }

  /** Counts a value of a request of `engine`. */
  observe(name: RequestHistogram, engine: number, value: number): void {
    this.#histograms.observe(name, this.#labels(engine), value);
  }

  /** A request of `engine` has ended. */
  observeEnd(engine: number, reason: FinishReason): void {
    this.#success.inc({ ...this.#labels(engine), finished_reason: reason });
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

  /** What the KV cache is like, as labels. */
  #cacheConfig(router: ReplicaRouter): void {
    const labelsOf = (engine: number) => this.#labels(engine);
    new Gauge({
      name: "vllm:cache_config_info",
      help: "1, with the size of the KV cache as labels",
      labelNames: [...LABELS, "block_size", "num_gpu_blocks"],
      registers: [this.#registry],
      collect() {
        this.reset();
        router.replicas.forEach(({ stats: { kvBlocksTotal } }, engine) => {
          const size = { block_size: KV_BLOCK_SIZE, num_gpu_blocks: kvBlocksTotal };
          this.set({ ...labelsOf(engine), ...size }, 1);
        });
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
