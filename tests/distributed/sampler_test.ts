import { assert, assertEquals } from "@std/assert";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { RankSamples, SamplerRanksArguments } from "./ranks/sampler_ranks.ts";

const ENTRY = new URL("./ranks/sampler_ranks.ts", import.meta.url);

async function sample(size: number, args: SamplerRanksArguments): Promise<RankSamples[][]> {
  await using ranks = launchRanks<RankSamples[]>(ENTRY, { size, args, timeoutMs: 20_000 });
  return await ranks.results;
}

for (const size of [2, 3, 8]) {
  Deno.test(`${size} ranks draw on each what one rank draws, and rank 0 its log-probabilities`, async () => {
    // The last ranks of a small vocabulary have few tokens of their own, or none.
    for (const vocabSize of [203, 17]) {
      const args = { vocabSize, steps: 10 };
      const [alone] = await sample(1, args);
      const [first, ...others] = await sample(size, args);
      alone.forEach((expected, step) => {
        assertEquals(first[step].tokens, expected.tokens, `step ${step}`);
        for (const other of others) {
          assertEquals(other[step].tokens, expected.tokens, `step ${step}`);
          assert(other[step].logprobs.every((entry) => entry === null));
        }
        if (8 % size === 0) {
          assertEquals(first[step].logprobs, expected.logprobs, `step ${step}`);
        } else {
          // The log-sum-exp is cut at other places (NUMERICS.md 6).
          first[step].logprobs.forEach((actual, row) => {
            const other = expected.logprobs[row];
            assertEquals(actual?.topIds, other?.topIds);
            assert(actual === null || Math.abs(actual.logprob - other!.logprob) < 2e-6);
          });
        }
      });
    }
  });
}
