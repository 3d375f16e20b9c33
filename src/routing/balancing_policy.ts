/**
 * How a router chooses among replicas.
 * @module
 */

/** What a policy may know of a request. */
export interface RoutedRequest {
  /** Tokens that it will take, prompt and output together: an estimate. */
  readonly tokens: number;
  /** Whether the answer comes piece by piece: only then does its first byte tell that it was begun. */
  readonly stream: boolean;
  /** Names what belongs together, such as a conversation or a user; null for nothing. */
  readonly session: string | null;
  /**
   * A hash for each leading part of the prompt, the shortest first: two prompts whose n-th hashes are
   * equal begin alike up to there. See {@linkcode prefixHashes}.
   */
  readonly prefix: readonly number[];
  /** Names the client's connection, where one is known: versions of weights never go back on it. */
  readonly connection?: string | null;
}

/** A replica that could take a request. */
export interface ReplicaLoad {
  /** Names the replica for as long as it is a member. */
  readonly id: string;
  /** Its share of the work beside others: above 0; 1 where nobody said otherwise. */
  readonly weight: number;
  /** Requests that the router has sent to it and that have not ended. */
  readonly active: number;
  /** {@linkcode RoutedRequest.tokens} of those requests. */
  readonly tokens: number;
}

/** How a request ended at a replica. */
export interface RoutedOutcome {
  /** {@linkcode RoutedRequest.stream} of the request: the times of both kinds have nothing in common. */
  readonly stream: boolean;
  /** Time to the first byte of a stream in milliseconds; null when none came, and for any other answer. */
  readonly firstByteMs: number | null;
  /** Time to its end in milliseconds. */
  readonly totalMs: number;
  /** True when the replica failed it; a cancelled request has not failed. */
  readonly failed: boolean;
}

/**
 * Chooses a replica for a request. A policy keeps no state but its own, and belongs to one router. What
 * it is told beside `select` it may ignore.
 */
export interface BalancingPolicy {
  /** Name that people see, such as `least-loaded`. */
  readonly name: string;
  /** The chosen one of `candidates`: never empty, able to serve, in the order in which they joined. */
  select(candidates: readonly ReplicaLoad[], request: RoutedRequest): ReplicaLoad;
  /** A request was sent to a replica, by this policy's choice or because only one was left. */
  sent?(id: string, request: RoutedRequest): void;
  /** A request has ended at a replica. */
  ended?(id: string, outcome: RoutedOutcome): void;
  /** A replica has left; its id may come again as another one. */
  left?(id: string): void;
}

/** How much a replica has to do for what it can do: the measure of the policies that compare loads. */
export function relativeLoad(load: ReplicaLoad): number {
  return load.active / load.weight;
}

/**
 * Whether `a` has less to do than `b`: fewer requests for its weight, then fewer tokens. False among
 * equals.
 */
export function isLessLoaded(a: ReplicaLoad, b: ReplicaLoad): boolean {
  const difference = relativeLoad(a) - relativeLoad(b);
  return difference !== 0 ? difference < 0 : a.tokens / a.weight < b.tokens / b.weight;
}
