/**
 * A rank that was started, as a launcher sees it.
 * @module
 */
import type { RankOutcome } from "./rank_runner.ts";

/** A started rank. */
export interface RankHandle {
  /** Process id, when it has a process of its own. */
  readonly pid: number | null;
  /** Resolves as soon as it is known how the rank has ended or will end. Never rejects. */
  readonly outcome: Promise<RankOutcome>;
  /**
   * Resolves when its process has ended or its thread runs no more JavaScript (a native call under way may
   * still return). Never rejects.
   */
  readonly ended: Promise<void>;
  /** Ends it at once. */
  kill(): void;
}
