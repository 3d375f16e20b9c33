/**
 * Takes replicas out that answer, but far later than others, or not at all.
 * @module
 */
import type { Lease } from "./lease.ts";
import type { Member } from "./member.ts";
import { OutlierDetector, type OutlierOptions } from "./outlier_detector.ts";

/** Options of {@linkcode OutlierEjection}. */
export interface OutlierEjectionOptions extends OutlierOptions {
  /** Share of the replicas that may be out, for whatever reason, with one that is ejected. Default 0.5. */
  readonly maxEjectedShare?: number;
  /** Time between two looks for slow replicas, in milliseconds. Default 1000. */
  readonly intervalMs?: number;
}

/**
 * Ejects outliers of a pool. Slow ones are found by the times of their streamed answers, stuck ones by their
 * silence: no byte of any answer for long, with a stream waiting that was not sent elsewhere before, while
 * others are not silent. Both return as replicas do that have failed: after a time that doubles, by a probe,
 * with a share that grows.
 */
export class OutlierEjection<T> {
  readonly #members: ReadonlyMap<string, Member<T>>;
  readonly #detector: OutlierDetector;
  readonly #maxEjectedShare: number;
  readonly #intervalMs: number;
  readonly #now: () => number;
  #looked = -Infinity;

  /** Watches `members` by the clock `now`. Throws RangeError when an option is out of range. */
  constructor(
    members: ReadonlyMap<string, Member<T>>,
    options: OutlierEjectionOptions & { readonly now: () => number },
  ) {
    this.#members = members;
    this.#detector = new OutlierDetector(options);
    this.#maxEjectedShare = options.maxEjectedShare ?? 0.5;
    this.#intervalMs = options.intervalMs ?? 1000;
    this.#now = options.now;
    if (!(this.#maxEjectedShare >= 0 && this.#maxEjectedShare <= 1)) {
      throw new RangeError(
        `Cannot eject outliers as maxEjectedShare is no share: ${this.#maxEjectedShare}`,
      );
    }
  }

  /** The first byte of a request took so long, or longer: nothing had come of it then. */
  note(lease: Lease<T>, milliseconds: number): void {
    if (!lease.request.stream || this.#members.get(lease.id) !== lease.member) return;
    const at = this.#now();
    this.#detector.note(lease.id, { milliseconds, tokens: lease.tokensAhead, at });
    if (at - this.#looked < this.#intervalMs) return;
    this.#looked = at;
    this.#ejectSlow(at);
  }

  /** Forgets a replica. */
  left(id: string): void {
    this.#detector.forget(id);
  }

  /** Ejects replicas that are stuck: their requests that have not begun are taken back. */
  ejectStuck(): void {
    const now = this.#now();
    const serving = [...this.#members.values()].filter(({ serves }) => serves);
    const ids = serving.map(({ id }) => id);
    const stuck = serving.filter((member) => {
      const tokens = member.tokensWaiting;
      return member.silentMs > this.#detector.silenceMs(member.id, { ids, tokens, now });
    });
    // Where everybody is silent, it is the load, or something between, and no one is better.
    if (stuck.length === serving.length) return;
    for (const member of stuck) {
      if (!this.#mayEject()) return;
      this.#eject(member, `silent for ${Math.round(member.silentMs)} ms with requests waiting`);
      for (const lease of member.leases) lease.withdraw();
    }
  }

  #ejectSlow(now: number): void {
    const serving = [...this.#members.values()].filter(({ state }) => state === "healthy");
    const ids = serving.map(({ id }) => id);
    for (const { id, medianMs, othersMs } of this.#detector.outliers(ids, now)) {
      if (!this.#mayEject()) return;
      const reason = `answers begin after ${Math.round(medianMs)} ms, others' after ${
        Math.round(othersMs)
      } ms`;
      this.#eject(this.#members.get(id)!, reason);
    }
  }

  #eject(member: Member<T>, reason: string): void {
    this.#detector.forget(member.id);
    member.eject(reason);
  }

  #mayEject(): boolean {
    const members = [...this.#members.values()];
    const out = members.filter(({ serves }) => !serves).length;
    return out + 1 <= this.#maxEjectedShare * members.length;
  }
}
