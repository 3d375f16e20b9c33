/**
 * Who may get a request now, while weights change: nobody, those of one side, or everybody.
 * @module
 */
import type { RoutedRequest } from "./balancing_policy.ts";
import type { Member } from "./member.ts";
import type { Side, TrafficSplit } from "./traffic_split.ts";

/** What is known of a request that asks for a place. */
export interface CandidateOptions {
  /** Replicas that have failed it: candidates only where there are no others. */
  readonly avoid: ReadonlySet<string>;
  /** Whether it was sent before, and failed. */
  readonly again: boolean;
}

/** Holds requests back, and divides them among replicas. */
export class TrafficControl<T> {
  #holds = 0;
  #split: TrafficSplit | null = null;

  /** Whether requests are held. */
  get held(): boolean {
    return this.#holds > 0;
  }

  /** Whether they are divided, so that not every place suits every request. */
  get divided(): boolean {
    return this.#split !== null;
  }

  /** Holds requests until disposed; `onRelease` is called when the last hold was. */
  hold(onRelease: () => void): Disposable {
    this.#holds++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        if (--this.#holds === 0) onRelease();
      },
    };
  }

  /** Divides requests; null for no division. */
  divide(split: TrafficSplit | null): void {
    this.#split = split;
  }

  /** Those of `members` with room that may take a request: of the side that it prefers, where one of that has room. */
  candidates(
    members: readonly Member<T>[],
    request: RoutedRequest,
    { avoid, again }: CandidateOptions,
  ): readonly Member<T>[] {
    const groups = this.#groups(members, request, again).map((group) =>
      group.filter(({ hasPlace }) => hasPlace)
    );
    for (const group of groups) {
      const untried = avoid.size === 0 ? group : group.filter(({ id }) => !avoid.has(id));
      if (untried.length > 0) return untried;
    }
    return groups.find((group) => group.length > 0) ?? [];
  }

  /** A request was sent to a replica. */
  sent(request: RoutedRequest, member: Member<T>): void {
    this.#split?.sent(request, sideOf(this.#split, member));
  }

  /** Members that may take a request, in groups of which the first is preferred. */
  #groups(
    members: readonly Member<T>[],
    request: RoutedRequest,
    again: boolean,
  ): readonly (readonly Member<T>[])[] {
    const split = this.#split;
    if (split === null) return [members];
    const groups = { fresh: [] as Member<T>[], stable: [] as Member<T>[] };
    for (const member of members) if (member.serves) groups[sideOf(split, member)].push(member);
    const [fresh, stable] = [groups.fresh.length, groups.stable.length];
    return split.sides(request, { fresh, stable, again }).map((side) => groups[side]);
  }
}

function sideOf(split: TrafficSplit, { id }: { readonly id: string }): Side {
  return split.fresh.has(id) ? "fresh" : "stable";
}
