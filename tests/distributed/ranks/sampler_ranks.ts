/** Samples with a vocabulary that is divided over the ranks. */
import type { RankContext } from "../../../src/distributed/launcher.ts";
import type { RowLogprobs } from "../../../src/engine/step_plan.ts";
import { openCpuDevice } from "../../../src/tensor/cpu/device.ts";
import { MAX_ROWS, mixedRows, SamplerHarness, tiedLogits } from "../../unit/engine/_sampling.ts";
import { Random } from "../../unit/tensor/_random.ts";

/** Size of the vocabulary, and number of steps. */
export interface SamplerRanksArguments {
  readonly vocabSize: number;
  readonly steps: number;
}

/** What a rank got in each step. */
export interface RankSamples {
  readonly tokens: readonly number[];
  readonly logprobs: readonly (RowLogprobs | null)[];
}

export function rankMain({ world, args }: RankContext<SamplerRanksArguments>): RankSamples[] {
  const { vocabSize, steps } = args;
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, vocabSize, world);
  const random = new Random(4);
  return Array.from({ length: steps }, (_, step) => {
    harness.write(tiedLogits(step, vocabSize));
    const rows = mixedRows(random, MAX_ROWS).map((row, i) => ({
      ...row,
      logprobs: [null, 0, 4, 20][(step + i) % 4],
      target: i === 7 ? step % vocabSize : -1,
    }));
    // Now and then whole rows.
    if (step % 5 === 4) rows[2].logprobs = -1;
    const { tokens, logprobs } = harness.sample(rows);
    return { tokens: [...tokens], logprobs };
  });
}
