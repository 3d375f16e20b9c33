/**
 * A replica whose weights can change, as strategies of updates see it.
 * @module
 */

/** A folder of weights, as the replicas see it. */
export interface UpdateSource {
  /** Folder of a Hugging Face checkpoint, by the path that the replicas know. */
  readonly model: string;
  /** SHA-256 of the folder's files, in hex; verified by each replica before it uses them. */
  readonly sha256?: string;
  /** Name of the weights in answers and metrics. */
  readonly version?: string;
}

/** Weights that a replica has loaded. */
export interface ReplicaWeights {
  /** Their name in answers and metrics. */
  readonly version: string;
  /** The folder that they came from. */
  readonly model: string;
}

/** The weights of a replica. */
export interface ReplicaWeightsStatus {
  /** What new requests get. */
  readonly current: ReplicaWeights;
  /** Loaded beside, to be activated; null for none. */
  readonly prepared: ReplicaWeights | null;
  /** Served before, and still loaded; null for none. */
  readonly previous: ReplicaWeights | null;
}

/** A replica under an update. Every method rejects with what the replica says, or when it can't be reached. */
export interface UpdatableReplica {
  /** Its name in the fleet. */
  readonly id: string;
  /** The weights as they are. */
  weights(): Promise<ReplicaWeightsStatus>;
  /** New requests wait inside the replica; resolves when those that ran have ended. */
  pause(mode: "finish" | "abort" | "hold"): Promise<void>;
  /** Requests go on. */
  resume(): Promise<void>;
  /** Loads weights beside the present ones. */
  prepare(source: UpdateSource): Promise<ReplicaWeights>;
  /** New requests get the prepared weights; those that have begun end on the old ones, which stay loaded. */
  activate(): Promise<ReplicaWeights>;
  /** New requests get the previous weights again. */
  revert(): Promise<ReplicaWeights>;
  /** Frees weights that are not current. */
  release(): Promise<void>;
  /** Replaces the weights in place; the old ones serve again when it rejects, if the replica lives. */
  update(source: UpdateSource): Promise<ReplicaWeights>;
  /** Greedy tokens of each prompt (token ids) from one of the sets. */
  check(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]>;
}
