/**
 * What an engine's users see of its weights: versions, and the verbs that change them.
 * @module
 */

/**
 * What happens to requests while an engine is paused. New ones wait in every mode. Those that run: `finish` lets
 * them end, `abort` ends them with finish reason `abort`, `hold` lets them stand still until the engine resumes.
 */
export type PauseMode = "finish" | "abort" | "hold";

/** What a version may be: it stands in headers of answers and in labels of metrics. */
export const WEIGHT_VERSION_PATTERN: RegExp = /^[\x21-\x7e]{1,128}$/;

/** A folder of weights to serve instead of the present ones. */
export interface WeightsFolder {
  /** Folder of a Hugging Face checkpoint of the same architecture and tokenizer. */
  readonly model: string;
  /**
   * What the folder must hold: the SHA-256, in hex, of the lines `HASH  NAME\n`, as sha256sum prints them, of its
   * files in the order of their names, without SHA256SUMS itself. Such a file is verified too where the folder has one.
   */
  readonly sha256?: string;
  /**
   * Name of the weights in answers and metrics: 1 to 128 signs of printable ASCII without spaces. Default: a hash of
   * what the files say.
   */
  readonly version?: string;
}

/** Weights that are loaded. */
export interface LoadedWeights {
  /** Their name in answers and metrics. */
  readonly version: string;
  /** The folder that they came from. */
  readonly model: string;
}

/** The weights of an engine. At most two sets are loaded at once. */
export interface WeightsStatus {
  /** How the engine is paused; null while it serves. */
  readonly paused: PauseMode | null;
  /** What new requests get. */
  readonly current: LoadedWeights;
  /** Loaded beside, to be activated; null for none. */
  readonly prepared: LoadedWeights | null;
  /** Served before, and still loaded, so that they can be served again at once; null for none. */
  readonly previous: LoadedWeights | null;
}

/**
 * An engine whose weights can change while it serves. Every request is answered by one set of weights. What is
 * thrown is a {@linkcode WeightsError}: the engine serves what it served before, unless it says that it has stopped.
 * A folder that is served must not be written to: put new weights into a folder of their own.
 *
 * @example
 * ```ts no-assert
 * import { LlmEngine } from "@weft/weft";
 * await using engine = await LlmEngine.load({ model: "models/demo" });
 * await engine.prepareWeights({ model: "models/demo-2" }); // requests go on meanwhile
 * const [answer] = await engine.checkWeights("prepared", [[1, 2, 3]], 8);
 * console.log(answer);
 * engine.activateWeights(); // new requests get them; engine.revertWeights() goes back at once
 * await engine.releaseWeights();
 * ```
 */
export interface UpdatableWeights {
  /** The weights as they are. */
  readonly weights: WeightsStatus;
  /** Resolves when nothing runs any more (mode `hold`: when nothing moves). A second pause changes the mode. */
  pause(mode: PauseMode): Promise<void>;
  /** Requests go on, those that waited included. */
  resume(): void;
  /**
   * Loads weights beside the present ones, which go on serving. Throws WeightsError: `invalid` when the folder is
   * not what it must be, `memory` when both do not fit, `conflict` when others are prepared or kept.
   */
  prepareWeights(source: WeightsFolder): Promise<LoadedWeights>;
  /** New requests get the prepared weights from now on; those that have begun end on the old ones, which stay. */
  activateWeights(): LoadedWeights;
  /** New requests get the previous weights again; what was current is prepared. */
  revertWeights(): LoadedWeights;
  /** Frees prepared and previous weights, the latter when the last request on them has ended. */
  releaseWeights(): Promise<void>;
  /**
   * Replaces the weights in place, where there is no memory for two: new requests wait, begun ones end, and when the
   * new weights cannot be served the old ones are loaded again before WeightsError is thrown.
   */
  updateWeights(source: WeightsFolder): Promise<LoadedWeights>;
  /**
   * Greedy tokens of each prompt (token ids) from one of the sets, past any pause. Throws WeightsError: `invalid`
   * when a log-probability is not finite or a prompt can't be served, `conflict` when requests are held on the set.
   */
  checkWeights(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]>;
}

/** Why weights were not taken. The engine serves what it served before. */
export type WeightsErrorReason = "invalid" | "memory" | "conflict" | "failed";

/** Weights were not taken; the engine serves what it served before. */
export class WeightsError extends Error {
  /** Why. */
  readonly reason: WeightsErrorReason;
  /** Says what happened. */
  constructor(message: string, options: ErrorOptions & { readonly reason: WeightsErrorReason }) {
    super(message, options);
    this.name = "WeightsError";
    this.reason = options.reason;
  }
}
