/**
 * How much more replicas do together than one of them alone.
 * @module
 */

/** What a replica did in a window of time. */
export interface ReplicaWork {
  /** Seconds in which it had requests. */
  readonly seconds: number;
  /** Replicas that were busy then, itself among them: their mean number. */
  readonly companions: number;
  /** Variance of that number. */
  readonly companionsVariance: number;
  /** Requests that it had at once then: their mean number. */
  readonly concurrency: number;
  /** Tokens of prompts that it computed. */
  readonly promptTokens: number;
  /** Tokens that it generated. */
  readonly generationTokens: number;
}

/**
 * A window in which the number of busy replicas had a larger standard deviation, for its mean, belongs to no number:
 * two replicas may be without a request for a tenth of the time, each, between one and the next.
 */
const MAX_DEVIATION = 0.16;

/** Windows with less to do say little: counters move by a step of many tokens. */
const MIN_WINDOW_SECONDS = 0.25;

/** Work of so many seconds must be known before it says anything. */
const MIN_SECONDS = 5;

/** Windows are compared when the shares of prompts among their tokens differ by no more than this. */
const MAX_MIX_DISTANCE = 0.2;

/** What was seen so many busy seconds ago counts for 1/e: machines and weights change. */
const MEMORY_SECONDS = 120;

/**
 * Estimates the scaling efficiency of a fleet from what its replicas do: the time that each of them takes alone for
 * the work that it did beside others, over the time that it took. 1 is perfect; replicas that share cores, memory or
 * a host's threads stay below.
 *
 * How long a replica takes alone is learnt from windows in which no other was busy, for each number of requests at
 * once: seconds as a sum over prompt and generated tokens, by least squares. Windows with others busy are compared
 * with that at the same number of requests. Windows in which that changed, and work of which a replica never did the
 * like alone, say nothing.
 */
export class ScalingEfficiency {
  readonly #alone = new Map<string, Map<number, TokenCost>>();
  readonly #together = new Map<number, DecayingRatio>();

  /** By number of busy replicas, for those numbers of which it is known. */
  get known(): ReadonlyMap<number, number> {
    const known = [...this.#together].filter(([count, { below }]) => below >= count * MIN_SECONDS);
    return new Map(known.sort(([a], [b]) => a - b).map(([count, { value }]) => [count, value]));
  }

  /** The replica `id` has done `work` in a window. */
  observe(id: string, work: ReplicaWork): void {
    if (work.seconds < MIN_WINDOW_SECONDS) return;
    if (work.companionsVariance > (MAX_DEVIATION * work.companions) ** 2) return;
    const count = Math.round(work.companions);
    const cost = this.#costOf(id, work);
    if (count === 1) return cost.observe(work);
    const alone = cost.seconds(work);
    if (alone === null) return;
    let ratio = this.#together.get(count);
    if (ratio === undefined) this.#together.set(count, ratio = new DecayingRatio());
    ratio.observe(alone, work.seconds);
  }

  /** A replica has left, or computes with something else from now on: what is known of it no longer holds. */
  forget(id: string): void {
    this.#alone.delete(id);
    this.#together.clear();
  }

  #costOf(id: string, { concurrency }: ReplicaWork): TokenCost {
    let costs = this.#alone.get(id);
    if (costs === undefined) this.#alone.set(id, costs = new Map());
    // Quarters of an octave: 1, 2, 3 and 4 requests at once are kept apart, 40 and 45 are alike.
    const level = Math.round(4 * Math.log2(Math.max(1, concurrency)));
    let cost = costs.get(level);
    if (cost === undefined) costs.set(level, cost = new TokenCost());
    return cost;
  }
}

/** Seconds that a replica takes for tokens of both kinds, by least squares over windows that fade. */
class TokenCost {
  #seconds = 0;
  #promptTokens = 0;
  #generationTokens = 0;
  #promptPrompt = 0;
  #promptGenerated = 0;
  #generatedGenerated = 0;
  #promptSeconds = 0;
  #generatedSeconds = 0;

  observe({ seconds, promptTokens: p, generationTokens: g }: ReplicaWork): void {
    const kept = Math.exp(-seconds / MEMORY_SECONDS);
    this.#seconds = kept * this.#seconds + seconds;
    this.#promptTokens = kept * this.#promptTokens + p;
    this.#generationTokens = kept * this.#generationTokens + g;
    this.#promptPrompt = kept * this.#promptPrompt + p * p;
    this.#promptGenerated = kept * this.#promptGenerated + p * g;
    this.#generatedGenerated = kept * this.#generatedGenerated + g * g;
    this.#promptSeconds = kept * this.#promptSeconds + p * seconds;
    this.#generatedSeconds = kept * this.#generatedSeconds + g * seconds;
  }

  /** Null while too little is known, or nothing of such work. */
  seconds({ promptTokens, generationTokens }: ReplicaWork): number | null {
    if (this.#seconds < MIN_SECONDS) return null;
    const seen = promptShare(this.#promptTokens, this.#generationTokens);
    const asked = promptShare(promptTokens, generationTokens);
    if (!(Math.abs(seen - asked) <= MAX_MIX_DISTANCE)) return null;
    const [perPrompt, perGenerated] = this.#solve();
    return perPrompt * promptTokens + perGenerated * generationTokens;
  }

  /** Seconds for a token of a prompt, and for a generated one. */
  #solve(): readonly [number, number] {
    // Where both kinds always came in the same proportion, any split of the cost fits: a little weight on the
    // diagonal chooses one, and moves others by a millionth.
    const ridge = 1e-6 * (this.#promptPrompt + this.#generatedGenerated);
    const a = this.#promptPrompt + ridge;
    const b = this.#promptGenerated;
    const c = this.#generatedGenerated + ridge;
    const determinant = a * c - b * b;
    if (determinant === 0) return [0, 0];
    const perPrompt = (c * this.#promptSeconds - b * this.#generatedSeconds) / determinant;
    const perGenerated = (a * this.#generatedSeconds - b * this.#promptSeconds) / determinant;
    // Noise must not let tokens take less than no time: the other kind explains it all then.
    if (perPrompt < 0) return [0, this.#generatedSeconds / c];
    if (perGenerated < 0) return [this.#promptSeconds / a, 0];
    return [perPrompt, perGenerated];
  }
}

/** NaN without tokens. */
function promptShare(promptTokens: number, generationTokens: number): number {
  return promptTokens / (promptTokens + generationTokens);
}

/** A quotient of two sums that fade with the lower one. */
class DecayingRatio {
  #above = 0;
  #below = 0;

  /** What the divisor stands at. */
  get below(): number {
    return this.#below;
  }

  get value(): number {
    return this.#above / this.#below;
  }

  observe(above: number, below: number): void {
    const kept = Math.exp(-below / MEMORY_SECONDS);
    this.#above = kept * this.#above + above;
    this.#below = kept * this.#below + below;
  }
}
