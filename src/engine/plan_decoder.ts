/**
 * Reads step plans one after the other.
 * @module
 */
import { LOGIT_ENTRY_WORDS } from "../tensor/sampling_kernels.ts";
import type { Mutable } from "./reused.ts";
import type {
  PlannedAdjustments,
  PlannedSampling,
  PlannedSequence,
  StepPlan,
} from "./step_plan.ts";
import { intsBytes, WireReader } from "./wire.ts";

/** Stands for a null `logprobs`, whose other values are -1 and up. */
export const NO_LOGPROBS = -2;

/** What follows of a sequence's sampling. */
export const SAMPLING = { none: 0, plain: 1, adjusted: 2 } as const;

/** Stand for no mask and for the one before, where else its number of words is. */
export const MASK = { none: -1, same: -2 } as const;

/** slot, startPosition, numTokens, inputStep, firstNewBlock, promptLogprobs, has sampling. */
export const SEQUENCE_BYTES: number = 4 + 4 + 4 + 8 + 4 + 4 + 4;

const NO_BYTES = new Uint8Array(0);
const NO_INTS = new Int32Array(0);

/** An entry of a plan, with arrays and parameters to be filled again. */
interface KnownSequence {
  readonly planned: Mutable<PlannedSequence>;
  readonly sampling: Mutable<PlannedSampling>;
  tokens: Int32Array;
  newBlocks: Int32Array;
  promptTargets: Int32Array;
}

/** Reads plans into the same objects: decode steps of one size leave no garbage. */
export class PlanDecoder {
  readonly #input = new WireReader(NO_BYTES);
  readonly #known: KnownSequence[] = [];
  readonly #sequences: PlannedSequence[] = [];
  readonly #plan: Mutable<StepPlan> = { step: 0, sequences: this.#sequences };

  /**
   * Reads a plan from exactly the bytes that `encodePlan` used: the first `length`. It stays as it is until the
   * next call. Throws RangeError when they are malformed.
   */
  decode(bytes: Uint8Array, length: number = bytes.byteLength): StepPlan {
    const input = this.#input;
    input.open(bytes, length);
    this.#plan.step = input.float();
    this.#resize(input.count(SEQUENCE_BYTES + 3 * intsBytes(0)));
    for (let i = 0; i < this.#sequences.length; i++) readSequence(input, this.#known[i]);
    input.end();
    return this.#plan;
  }

  #resize(count: number): void {
    while (this.#known.length < count) this.#known.push(emptySequence());
    while (this.#sequences.length > count) this.#sequences.pop();
    while (this.#sequences.length < count) {
      this.#sequences.push(this.#known[this.#sequences.length].planned);
    }
  }
}

function emptySequence(): KnownSequence {
  return {
    planned: {
      slot: 0,
      startPosition: 0,
      numTokens: 0,
      inputStep: 0,
      firstNewBlock: 0,
      promptLogprobs: 0,
      sampling: null,
      adjustments: null,
      tokens: null,
      newBlocks: NO_INTS,
      promptTargets: null,
    },
    sampling: {
      temperature: 0,
      topP: 0,
      minP: 0,
      topK: 0,
      seedLow: 0,
      seedHigh: 0,
      choice: 0,
      logprobs: null,
    },
    tokens: NO_INTS,
    newBlocks: NO_INTS,
    promptTargets: NO_INTS,
  };
}

function readSequence(input: WireReader, known: KnownSequence): void {
  const { planned } = known;
  planned.slot = input.int();
  planned.startPosition = input.int();
  planned.numTokens = input.int();
  planned.inputStep = input.float();
  planned.firstNewBlock = input.int();
  planned.promptLogprobs = input.int();
  const sampling = input.int();
  planned.sampling = sampling === SAMPLING.none ? null : readSampling(input, known.sampling);
  planned.adjustments = sampling === SAMPLING.adjusted ? readAdjustments(input) : null;
  const tokens = planned.tokens = input.nullableInts(known.tokens);
  const newBlocks = planned.newBlocks = input.ints(known.newBlocks);
  const promptTargets = planned.promptTargets = input.nullableInts(known.promptTargets);
  if (tokens !== null) known.tokens = tokens;
  // Most steps bring no block, some one.
  if (newBlocks.length > 0) known.newBlocks = newBlocks;
  if (promptTargets !== null) known.promptTargets = promptTargets;
}

function readSampling(input: WireReader, sampling: Mutable<PlannedSampling>): PlannedSampling {
  sampling.temperature = input.float();
  sampling.topP = input.float();
  sampling.minP = input.float();
  sampling.topK = input.int();
  sampling.seedLow = input.int() >>> 0;
  sampling.seedHigh = input.int() >>> 0;
  sampling.choice = input.int();
  const logprobs = input.int();
  sampling.logprobs = logprobs === NO_LOGPROBS ? null : logprobs;
  return sampling;
}

function readAdjustments(input: WireReader): PlannedAdjustments {
  const count = input.int();
  const length = input.count(20);
  const places = input.int32Elements(length);
  const entries = input.int32Elements(LOGIT_ENTRY_WORDS * length);
  const words = input.int();
  const mask = words < 0 ? null : input.int32Elements(words);
  return { count, places, entries, masked: words !== MASK.none, mask };
}
