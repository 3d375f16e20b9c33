import type { Communicator } from "../../../src/distributed/communicator.ts";
import { SingleRankCommunicator } from "../../../src/distributed/single_rank_communicator.ts";
import type { RowAdjustments, SampleRow } from "../../../src/engine/sampler/sample_row.ts";
import { Sampler } from "../../../src/engine/sampler/sampler.ts";
import type { PlannedSampling } from "../../../src/engine/step_plan.ts";
import { partitionVocab } from "../../../src/layers/vocab_parallel.ts";
import type { Device } from "../../../src/tensor/device.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { noiseOf } from "../tensor/_gumbel.ts";
import { Random } from "../tensor/_random.ts";
import { adjustByTable } from "./_adjustments.ts";

export const MAX_ROWS = 9;

/** A sampler with logits to sample from, of one rank of those that share a vocabulary. */
export class SamplerHarness implements Disposable {
  readonly sampler: Sampler;
  readonly #resources = new DisposableStack();
  readonly #logits: Tensor;
  readonly #vocab: ReturnType<typeof partitionVocab>;

  constructor(
    device: Device,
    vocabSize: number,
    tensorParallel: Communicator = new SingleRankCommunicator({ copy: device.copy }),
  ) {
    const { rank, size: parts } = tensorParallel;
    this.#vocab = partitionVocab(vocabSize, { rank, parts });
    const shape = [MAX_ROWS, this.#vocab.paddedCount];
    this.#logits = this.#resources.use(Tensor.allocate(device, { shape }));
    this.#logits.upload(new Float32Array(MAX_ROWS * this.#vocab.paddedCount).fill(-Infinity));
    const options = {
      device,
      tensorParallel,
      vocab: this.#vocab,
      logits: this.#logits,
      maxAdjustments: 2 * vocabSize,
    };
    this.sampler = this.#resources.use(new Sampler(options));
  }

  /** Writes this rank's part of `logits`, `[rows, vocabSize]`. */
  write(logits: Float32Array): void {
    const { vocabSize, firstId, count, paddedCount } = this.#vocab;
    const padded = new Float32Array(logits.length / vocabSize * paddedCount).fill(-Infinity);
    for (let row = 0; row * vocabSize < logits.length; row++) {
      const begin = row * vocabSize + Math.min(firstId, vocabSize);
      padded.set(logits.subarray(begin, begin + count), row * paddedCount);
    }
    this.#logits.upload(padded);
  }

  /** One step; a copy of its samples. */
  sample(rows: readonly SampleRow[]): ReturnType<ReturnType<Sampler["readBack"]>["read"]> {
    const work = this.sampler.prepare(rows);
    this.sampler.run(work);
    return structuredClone(this.sampler.readBack(work).read());
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

/** A row that draws; greedily, unless something is given. */
export function drawnRow(
  sampling: Partial<PlannedSampling> = {},
  row: Partial<SampleRow> = {},
): SampleRow {
  const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, seedLow: 1, seedHigh: 2, choice: 0 };
  return {
    sampling: { ...greedy, logprobs: null, ...sampling },
    adjustments: null,
    position: 0,
    target: -1,
    logprobs: null,
    ...row,
  };
}

/** A row that only looks at a token. */
export function targetRow(target: number, logprobs: number): SampleRow {
  return { sampling: null, adjustments: null, position: 3, target, logprobs };
}

/** Rows that ask for everything there is, in every mixture. */
export function mixedRows(random: Random, count: number): SampleRow[] {
  const maybe = (value: number, otherwise: number) => random.below(2) === 0 ? value : otherwise;
  return Array.from({ length: count }, () =>
    drawnRow({
      temperature: maybe(0, 0.2) + random.below(20) / 10,
      topK: maybe(0, 1 + random.below(30)),
      topP: maybe(1, (1 + random.below(98)) / 100),
      minP: maybe(0, random.below(30) / 100),
      seedLow: random.below(2 ** 32),
      seedHigh: random.below(2 ** 32),
      choice: random.below(4),
    }, { position: random.below(5000) }));
}

/** Changes to random logits: biases, scales, bans, and a mask or none. */
export function randomAdjustments(random: Random, vocabSize: number): RowAdjustments {
  const ids = random.permutation(vocabSize).subarray(0, random.below(vocabSize / 2));
  const entries = new Int32Array(4 * ids.length);
  const floats = new Float32Array(entries.buffer);
  for (let i = 0; i < ids.length; i++) {
    const after = random.below(4) === 0 ? -Infinity : random.below(9) / 4 - 1;
    entries[4 * i] = ids[i];
    floats.set([random.below(9) / 2 - 2, [1, 0.5, 2][random.below(3)], after], 4 * i + 1);
  }
  const mask = random.below(2) === 0 ? null : Int32Array.from(
    { length: Math.ceil(vocabSize / 32) },
    () => random.below(2 ** 32),
  );
  return { count: ids.length, entries, mask };
}

/** The token that a row draws from its logits: by sorting, in float64. */
export function referenceToken(given: ArrayLike<number>, row: SampleRow): number {
  const { temperature, topK, topP, minP, seedLow, seedHigh, choice } = row.sampling!;
  const logits = row.adjustments === null ? given : adjustByTable(given, row.adjustments);
  const sorted = Array.from(logits, (x, id) => ({ x, id })).sort((a, b) =>
    b.x - a.x || a.id - b.id
  );
  if (temperature === 0 || topK === 1) return sorted[0].id;
  const mass = (x: number) => Math.exp((x - sorted[0].x) / temperature);
  let kept = sorted.filter(({ x }) => mass(x) >= minP);
  // Tokens that tie with the last one kept are kept.
  if (topK > 0 && topK < kept.length) kept = kept.filter(({ x }) => x >= kept[topK - 1].x);
  let left = topP * kept.reduce((sum, { x }) => sum + mass(x), 0);
  const last = kept.find(({ x }) => (left -= mass(x)) <= 0);
  if (topP < 1 && last) kept = kept.filter(({ x }) => x >= last.x);
  const seed = BigInt(seedHigh) << 32n | BigInt(seedLow);
  const asked = { seed, choice, position: row.position, temperature, threshold: 0 };
  const scores = kept.map(({ x, id }) => ({ id, score: x / temperature + noiseOf(asked, id) }));
  return scores.reduce((best, other) => other.score > best.score ? other : best).id;
}

/** Logarithms of the softmax of `logits`, in float64. */
export function logSoftmax(logits: Float32Array): number[] {
  const maximum = logits.reduce((max, x) => Math.max(max, x), -Infinity);
  const sum = logits.reduce((sum, x) => sum + Math.exp(x - maximum), 0);
  return Array.from(logits, (x) => x - maximum - Math.log(sum));
}

/** Logits with some equal to others, `[MAX_ROWS, vocabSize]`. */
export function tiedLogits(seed: number, vocabSize: number): Float32Array<ArrayBuffer> {
  const logits = new Random(seed).normals(MAX_ROWS * vocabSize, 3);
  return logits.map((x) => Math.round(x * 64) / 64);
}
