/**
 * Log-probabilities of drawn and given tokens, and of the most likely ones beside them.
 * @module
 */
import { Tensor } from "../tensor/tensor.ts";
import type { SamplerOptions, SampleRow } from "./sample_row.ts";
import type { RowLogprobs } from "./step_plan.ts";

/** A rank's candidates: `count` (logit, id) pairs per row, descending. */
interface Candidates {
  readonly values: Float32Array;
  readonly ids: Int32Array;
  readonly perPart: number;
  readonly parts: number;
}

/** Gathers log-probabilities from the ranks that share a vocabulary. */
export class LogprobCollector implements Disposable {
  readonly #options: SamplerOptions;
  readonly #targets: Tensor;
  readonly #targetValues: Tensor;
  readonly #hostTargets: Int32Array;
  readonly #hostValues: Float32Array;
  // Buffers for top tokens grow with the largest request so far; most engines never need them.
  #top: { k: number; values: Tensor; ids: Tensor; allValues: Tensor; allIds: Tensor } | null = null;
  #whole: Tensor | null = null;

  /** Allocates what plain log-probabilities need. */
  constructor(options: SamplerOptions) {
    const { device, logits } = options;
    const rows = logits.shape[0];
    this.#options = options;
    this.#targets = Tensor.allocate(device, { shape: [rows], dtype: "i32" });
    this.#targetValues = Tensor.allocate(device, { shape: [rows] });
    this.#hostTargets = new Int32Array(rows);
    this.#hostValues = new Float32Array(rows);
  }

  /**
   * One entry per row, null where none was asked for. `stats` holds each row's maximum and sum of
   * exponentials. Ranks other than 0 take part and get nulls.
   */
  collect(
    rows: readonly SampleRow[],
    drawn: { readonly tokens: Int32Array; readonly stats: Float32Array },
  ): readonly (RowLogprobs | null)[] {
    const chosen = this.#chosenLogits(rows, drawn.tokens);
    const k = Math.max(0, ...rows.map((row) => row.logprobs ?? 0));
    const top = k > 0 ? this.#topCandidates(rows.length, k) : null;
    const whole = rows.some((row) => row.logprobs === -1) ? this.#wholeRows(rows.length) : null;
    if (this.#options.tensorParallel.rank !== 0) return rows.map(() => null);
    return rows.map((row, index) => {
      if (row.logprobs === null) return null;
      const logSum = drawn.stats[2 * index] + Math.log(drawn.stats[2 * index + 1]);
      const logprob = Math.fround(chosen[index] - logSum);
      const ranking = row.logprobs === -1
        ? rankWhole(whole!, index, this.#options.vocab.vocabSize)
        : rankTop(top, index, { rows: rows.length, count: row.logprobs });
      return {
        logprob,
        topIds: ranking.ids,
        topLogprobs: ranking.logits.map((logit) => logit - logSum),
      };
    });
  }

  #chosenLogits(rows: readonly SampleRow[], tokens: Int32Array): Float32Array {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const count = rows.length;
    rows.forEach((row, i) => this.#hostTargets[i] = row.target >= 0 ? row.target : tokens[i]);
    this.#targets.upload(this.#hostTargets.subarray(0, count));
    device.gatherLogits(this.#targetValues, logits, this.#targets, count, {
      size: vocab.paddedCount,
      firstId: vocab.firstId,
    });
    if (tensorParallel.size > 1) {
      tensorParallel.allReduce(this.#targetValues.address, count, { op: "max" });
    }
    return this.#targetValues.download(this.#hostValues.subarray(0, count));
  }

  #topCandidates(rows: number, wanted: number): Candidates {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const k = Math.min(wanted, vocab.paddedCount);
    const parts = tensorParallel.size;
    if (!this.#top || this.#top.k < k) {
      this.#disposeTop();
      const maxRows = logits.shape[0];
      this.#top = {
        k,
        values: Tensor.allocate(device, { shape: [maxRows * k] }),
        ids: Tensor.allocate(device, { shape: [maxRows * k], dtype: "i32" }),
        allValues: Tensor.allocate(device, { shape: [parts * maxRows * k] }),
        allIds: Tensor.allocate(device, { shape: [parts * maxRows * k], dtype: "i32" }),
      };
    }
    const top = this.#top;
    const shape = [rows, k];
    const values = Tensor.view(device, top.values.address, { shape });
    const ids = Tensor.view(device, top.ids.address, { shape, dtype: "i32" });
    device.topK(values, ids, logits, rows, {
      size: vocab.paddedCount,
      k,
      firstId: vocab.firstId,
    });
    const count = rows * k;
    const host = { values: new Float32Array(count * parts), ids: new Int32Array(count * parts) };
    if (parts === 1) {
      values.download(host.values);
      ids.download(host.ids);
    } else {
      tensorParallel.allGather(top.allValues.address, values.address, count);
      tensorParallel.allGather(top.allIds.address, ids.address, count, { dtype: "i32" });
      top.allValues.download(host.values);
      top.allIds.download(host.ids);
    }
    return { ...host, perPart: k, parts };
  }

  /** Logits of the whole vocabulary, `[rows][parts * paddedCount]`. */
  #wholeRows(rows: number): Float32Array[] {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const parts = tensorParallel.size;
    const width = vocab.paddedCount;
    const [maxRows] = logits.shape;
    this.#whole ??= Tensor.allocate(device, { shape: [parts * maxRows * width] });
    tensorParallel.allGather(this.#whole.address, logits.address, rows * width);
    const gathered = this.#whole.download(new Float32Array(parts * rows * width));
    return Array.from({ length: rows }, (_, row) => {
      const whole = new Float32Array(parts * width);
      for (let part = 0; part < parts; part++) {
        const from = (part * rows + row) * width;
        whole.set(gathered.subarray(from, from + width), part * width);
      }
      return whole;
    });
  }

  #disposeTop(): void {
    if (!this.#top) return;
    const { values, ids, allValues, allIds } = this.#top;
    for (const tensor of [values, ids, allValues, allIds]) tensor[Symbol.dispose]();
    this.#top = null;
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#targets[Symbol.dispose]();
    this.#targetValues[Symbol.dispose]();
    this.#whole?.[Symbol.dispose]();
    this.#disposeTop();
  }
}

interface Ranking {
  readonly ids: Int32Array;
  readonly logits: Float32Array;
}

/** Merges the ranks' candidates of one row: descending, ties to the lower id. */
function rankTop(
  top: Candidates | null,
  row: number,
  options: { rows: number; count: number },
): Ranking {
  const pairs: [number, number][] = [];
  for (let part = 0; top && part < top.parts; part++) {
    const start = (part * options.rows + row) * top.perPart;
    for (let i = start; i < start + top.perPart; i++) {
      if (top.values[i] > -Infinity) pairs.push([top.ids[i], top.values[i]]);
    }
  }
  pairs.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  pairs.length = Math.min(pairs.length, options.count);
  return {
    ids: Int32Array.from(pairs, (pair) => pair[0]),
    logits: Float32Array.from(pairs, (pair) => pair[1]),
  };
}

function rankWhole(whole: readonly Float32Array[], row: number, vocabSize: number): Ranking {
  const logits = whole[row];
  const ids = Int32Array.from({ length: vocabSize }, (_, id) => id)
    .sort((a, b) => logits[b] - logits[a] || a - b);
  return { ids, logits: Float32Array.from(ids, (id) => logits[id]) };
}
