/**
 * Histograms of requests under vLLM's names, with vLLM's buckets.
 * @module
 */
import { Histogram, type Registry } from "prom-client";

/** What each histogram shows, in the order of the text. */
const SECONDS = {
  time_to_first_token_seconds: "Time from a request's arrival to its first token",
  inter_token_latency_seconds: "Time from a token of a request to the next",
  e2e_request_latency_seconds: "Time from a request's arrival to its last token",
  request_time_per_output_token_seconds: "Mean time between two tokens of a request",
  request_queue_time_seconds: "Time that a request waited before it was first computed",
  request_prefill_time_seconds: "Time from the first computation of a request to its first token",
  request_decode_time_seconds: "Time from the first token of a request to its last",
  request_inference_time_seconds: "Time from the first computation of a request to its last token",
} as const;

const COUNTS = {
  request_prompt_tokens: "Prompt tokens of a request",
  request_prefill_kv_computed_tokens:
    "Prompt tokens of a request that the prefix cache did not have",
  request_generation_tokens: "Tokens that a request generated",
  request_max_num_generation_tokens: "Most tokens that a choice of an answer has",
  request_params_max_tokens: "Tokens that a request allowed",
  request_params_n: "Choices for each prompt that a request asked for",
} as const;

/** Name of a histogram, without vLLM's prefix. */
export type RequestHistogram = keyof typeof SECONDS | keyof typeof COUNTS;

/** The name that older dashboards know for the time between tokens. */
const OLDER_NAME = "time_per_output_token_seconds";

const FIRST_TOKEN_BUCKETS = [
  ...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20],
  ...[40, 80, 160, 640, 2560],
];
const BETWEEN_TOKENS_BUCKETS = [
  ...[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40],
  80,
];
const REQUEST_BUCKETS = [
  ...[0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920],
  7680,
];
const CHOICES_BUCKETS = [1, 2, 5, 10, 20];

/** The request histograms of one server. */
export class RequestHistograms<Label extends string> {
  readonly #registry: Registry;
  readonly #all: Readonly<Record<RequestHistogram, Histogram<Label>>>;

  /** Registers them. */
  constructor(
    registry: Registry,
    { labelNames, maxModelLen }: {
      readonly labelNames: readonly Label[];
      /** Positions of a request, up to which tokens are counted apart. */
      readonly maxModelLen: number;
    },
  ) {
    this.#registry = registry;
    const tokenBuckets = oneTwoFive(maxModelLen);
    const make = ([name, help]: [string, string]) => {
      const buckets = name in SECONDS
        ? secondsBuckets(name as keyof typeof SECONDS)
        : name === "request_params_n"
        ? CHOICES_BUCKETS
        : tokenBuckets;
      const registers = [registry];
      return [
        name,
        new Histogram({ name: `vllm:${name}`, help, labelNames, buckets, registers }),
      ];
    };
    this.#all = Object.fromEntries(Object.entries({ ...SECONDS, ...COUNTS }).map(make));
  }

  /** Counts a value. */
  observe(name: RequestHistogram, labels: Readonly<Record<Label, string>>, value: number): void {
    this.#all[name].observe(labels, value);
  }

  /** The time between tokens once more, by its older name, in Prometheus' text format. */
  async olderNames(): Promise<string> {
    const name = "vllm:inter_token_latency_seconds";
    const text = await this.#registry.getSingleMetricAsString(name);
    return text.replaceAll(name, `vllm:${OLDER_NAME}`);
  }
}

function secondsBuckets(name: keyof typeof SECONDS): number[] {
  if (name === "time_to_first_token_seconds") return FIRST_TOKEN_BUCKETS;
  return /_token_/.test(name) ? BETWEEN_TOKENS_BUCKETS : REQUEST_BUCKETS;
}

/** 1, 2, 5, 10, ... up to `max`. */
function oneTwoFive(max: number): number[] {
  const buckets: number[] = [];
  for (let power = 1;; power *= 10) {
    for (const digit of [1, 2, 5]) {
      if (digit * power > max) return buckets;
      buckets.push(digit * power);
    }
  }
}
