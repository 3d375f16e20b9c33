/**
 * Observes one generation for the metrics.
 * @module
 */
import type { GenerationChunk } from "../engine/types.ts";
import type { ServerMetrics } from "./metrics.ts";

/** What is known of a generation before it begins. */
export interface WatchedGeneration {
  /** When its request arrived (`performance.now()`). */
  readonly arrival: number;
  /** Tokens of its prompt. */
  readonly promptTokens: number;
  /** Tokens that it may generate, where that is limited. */
  readonly maxTokens: number | null;
}

/** Sees the chunks of one generation as they come. */
export class GenerationWatch {
  readonly #metrics: ServerMetrics;
  readonly #generation: WatchedGeneration;
  #tokens = 0;
  /** Times since arrival, in seconds: of the first and of the latest token; null before there is one. */
  #first: number | null = null;
  #latest = 0;
  #queued: number | null = null;
  #cached = 0;

  /** Watches a generation. */
  constructor(metrics: ServerMetrics, generation: WatchedGeneration) {
    this.#metrics = metrics;
    this.#generation = generation;
  }

  /** Tokens generated so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /** A chunk has come from an engine. */
  see(engine: number, chunk: GenerationChunk): void {
    const { tokenIds, finishReason, queueSeconds, cachedTokens } = chunk;
    const now = (performance.now() - this.#generation.arrival) / 1000;
    this.#queued ??= queueSeconds ?? null;
    this.#cached += cachedTokens ?? 0;
    if (tokenIds.length > 0) this.#seeTokens(engine, tokenIds.length, now);
    if (finishReason === null) return;
    this.#metrics.observeEnd(engine, finishReason);
    if (finishReason !== "abort") this.#seeEnd(engine, now);
  }

  #seeTokens(engine: number, count: number, now: number): void {
    const metrics = this.#metrics;
    if (this.#first === null) {
      this.#first = now;
      metrics.observe("time_to_first_token_seconds", engine, now);
    } else {
      metrics.observe("inter_token_latency_seconds", engine, now - this.#latest);
    }
    this.#tokens += count;
    this.#latest = now;
  }

  #seeEnd(engine: number, now: number): void {
    const metrics = this.#metrics;
    const { promptTokens, maxTokens } = this.#generation;
    metrics.observe("e2e_request_latency_seconds", engine, now);
    metrics.observe("request_prompt_tokens", engine, promptTokens);
    metrics.observe("request_prefill_kv_computed_tokens", engine, promptTokens - this.#cached);
    metrics.observe("request_generation_tokens", engine, this.#tokens);
    if (maxTokens !== null) metrics.observe("request_params_max_tokens", engine, maxTokens);
    const first = this.#first ?? now;
    const decoding = now - first;
    metrics.observe("request_decode_time_seconds", engine, decoding);
    if (this.#tokens > 1) {
      const mean = decoding / (this.#tokens - 1);
      metrics.observe("request_time_per_output_token_seconds", engine, mean);
    }
    if (this.#queued === null) return;
    const queued = Math.min(this.#queued, first);
    metrics.observe("request_queue_time_seconds", engine, queued);
    metrics.observe("request_prefill_time_seconds", engine, first - queued);
    metrics.observe("request_inference_time_seconds", engine, now - queued);
  }
}
