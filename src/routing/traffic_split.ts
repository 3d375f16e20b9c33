/**
 * Who gets which requests while some replicas have new weights and others still the old ones.
 * @module
 */
import type { RoutedRequest } from "./balancing_policy.ts";
import { uniform } from "./uniform.ts";

/** `fresh` replicas have the new weights, `stable` ones the old. */
export type Side = "fresh" | "stable";

/** What a split knows of a pool when it is asked. */
export interface SplitContext {
  /** Replicas with new weights that serve, be it with all places taken. */
  readonly fresh: number;
  /** Replicas with old weights that serve. */
  readonly stable: number;
  /** Whether the request was sent before, and failed. */
  readonly again: boolean;
}

/** Divides requests among replicas with new weights and with old ones. */
export interface TrafficSplit {
  /** Names of the replicas with new weights; may grow. */
  readonly fresh: ReadonlySet<string>;
  /** The sides that may serve the request, in order of preference: it waits where none of them has room. */
  sides(request: RoutedRequest, context: SplitContext): readonly Side[];
  /** A request was sent to a side. */
  sent(request: RoutedRequest, side: Side): void;
}

/** The new weights get a share of the requests, whoever sends them. */
export class RequestSplit implements TrafficSplit {
  /** See {@linkcode TrafficSplit.fresh}. */
  readonly fresh: ReadonlySet<string>;
  readonly #share: number;
  #toFresh = 0;
  #all = 0;

  /** `share` lies between 0 and 1. */
  constructor(fresh: ReadonlySet<string>, share: number) {
    this.fresh = fresh;
    this.#share = share;
  }

  /** See {@linkcode TrafficSplit.sides}. */
  sides(_request: RoutedRequest, { fresh, stable, again }: SplitContext): readonly Side[] {
    if (stable === 0) return ["fresh"];
    if (fresh === 0) return ["stable"];
    if (again) return ["stable", "fresh"];
    return this.#toFresh < this.#share * (this.#all + 1) ? ["fresh", "stable"] : ["stable"];
  }

  /** See {@linkcode TrafficSplit.sent}. */
  sent(_request: RoutedRequest, side: Side): void {
    this.#all++;
    if (side === "fresh") this.#toFresh++;
  }
}

/** Connections that are remembered one by one. */
const MAX_MOVED = 65_536;

/**
 * Versions never go back on a connection, as long as a replica with the new weights serves: each connection moves to
 * them once, when the share of replicas that have them exceeds a number that is the connection's own. So both sides
 * get what they can bear: were everybody kept on the new weights who has met them by chance, the first replica that
 * has them would soon have all the work.
 */
export class ConnectionSplit implements TrafficSplit {
  /** See {@linkcode TrafficSplit.fresh}. */
  readonly fresh: ReadonlySet<string>;
  readonly #moved = new Set<string>();
  #share = 0;

  /** `fresh` grows with the update. */
  constructor(fresh: ReadonlySet<string>) {
    this.fresh = fresh;
  }

  /** See {@linkcode TrafficSplit.sides}. */
  sides(request: RoutedRequest, { fresh, stable, again }: SplitContext): readonly Side[] {
    if (fresh === 0) return ["stable"];
    // It only grows: with a replica that is gone for a while connections would otherwise move back.
    this.#share = Math.max(this.#share, fresh / (fresh + stable));
    if (stable === 0) return ["fresh"];
    const { connection = null } = request;
    if (connection === null) {
      return Math.random() < this.#share ? ["fresh", "stable"] : ["stable", "fresh"];
    }
    if (this.#isMoved(connection)) return again ? ["fresh", "stable"] : ["fresh"];
    return again ? ["stable", "fresh"] : ["stable"];
  }

  /** See {@linkcode TrafficSplit.sent}. */
  sent({ connection = null }: RoutedRequest, side: Side): void {
    if (side === "stable" || connection === null || this.#isMoved(connection)) return;
    // It failed on the old side.
    if (this.#moved.size === MAX_MOVED) this.#share = 1;
    else this.#moved.add(connection);
  }

  #isMoved(connection: string): boolean {
    return uniform(connection) < this.#share || this.#moved.has(connection);
  }
}
