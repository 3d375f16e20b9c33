/**
 * Measures the scaling efficiency of replicas by a batch that they answer.
 * @module
 */

/** Requests of each phase of a batch that measures. They follow each other; each ends before the next begins. */
export interface ScalingPlan {
  /** Sent to all replicas, one each, so that none is measured cold. */
  readonly warmUp: number;
  /** Sent to one replica, while the others idle. */
  readonly alone: number;
  /** Sent to all of them: as many for each as the one had. */
  readonly together: number;
}

/** What a phase took. */
export interface PhaseFigures {
  /** Tokens of prompts and answers. */
  readonly tokens: number;
  /** From its first request to its last answer. */
  readonly seconds: number;
}

/** Rounds of full concurrency that are enough to measure. */
const ROUNDS = 8;

/**
 * How a batch is cut. Throws RangeError when it has too few requests, or when there is one replica only.
 */
export function planScaling(
  requests: number,
  { replicas, concurrency }: { readonly replicas: number; readonly concurrency: number },
): ScalingPlan {
  if (replicas < 2) throw new RangeError("Cannot measure scaling as there is one replica only");
  const alone = Math.min(Math.floor((requests - replicas) / (replicas + 1)), ROUNDS * concurrency);
  if (alone < 1) {
    throw new RangeError(
      `Cannot measure scaling as the batch has too few requests: ${requests}, and ` +
        `${2 * replicas + 1} are the least`,
    );
  }
  return { warmUp: replicas, alone, together: replicas * alone };
}

/**
 * Throughput of all replicas over that of as many as one alone: in tokens of prompts and answers in a second, with
 * the same number of requests for each replica, and each phase counted from its first request to its last answer,
 * so that what is lost at its ends is lost in both.
 */
export function scalingEfficiency(
  figures: { readonly alone: PhaseFigures; readonly together: PhaseFigures },
  replicas: number,
): number {
  const rate = ({ tokens, seconds }: PhaseFigures): number => tokens / seconds;
  return rate(figures.together) / (replicas * rate(figures.alone));
}
