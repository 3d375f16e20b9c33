/**
 * Answers over HTTP of several choices, with log-probabilities of prompts and tokens, on every kind of layout: the
 * same to the bit, and the first one of each prompt as if it had been asked for alone.
 */
import { assert, assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { ReplicaRouter } from "../../src/serving/mod.ts";
import { type Json, testApp } from "../http/test_server.ts";
import { goldenFolder } from "./golden_case.ts";

const LAYOUTS: readonly Partial<EngineOptions>[] = [
  { tensorParallelSize: 2 },
  { pipelineParallelSize: 2 },
  { tensorParallelSize: 2, pipelineParallelSize: 2 },
];

const prompt = [Array.from({ length: 21 }, (_, i) => 2 + (7 * i) % 300), [5, 6, 7]];
const common = { prompt, seed: 7, max_tokens: 12, ignore_eos: true, return_token_ids: true };
const REQUESTS: readonly Json[] = [
  { ...common, logprobs: 2, prompt_logprobs: 1 },
  { ...common, n: 3, logprobs: 2, prompt_logprobs: 1 },
  { ...common, n: 2, best_of: 4, temperature: 1.3, top_p: 0.9 },
  { ...common, n: 2, echo: true, logprobs: 1, truncate_prompt_tokens: 9 },
];

/** The choices that engines of a layout, behind one server, give for all requests at once. */
async function choicesOn(layout: Partial<EngineOptions>, replicas = 1): Promise<Json[]> {
  const model = goldenFolder("llama");
  const options = { model, device: "cpu", threads: 1, text: null, numKvBlocks: 40 } as const;
  await using replica = new ReplicaRouter(
    await Promise.all(
      Array.from({ length: replicas }, () => LlmEngine.load({ ...options, ...layout })),
    ),
  );
  const { json } = testApp({}, { replica, text: null });
  const answers = await Promise.all(REQUESTS.map((request) => json("/v1/completions", request)));
  return answers.map(({ choices, error }) => choices ?? error);
}

Deno.test("choices are the same on every layout, and alone", async () => {
  const expected = await choicesOn({});
  const [alone, three, best, echoed] = expected;
  assertEquals(alone, [three[0], { ...three[3], index: 1 }]);
  assertEquals([three.length, best.length, echoed.length], [6, 4, 4]);
  for (const choices of expected) {
    const tokens = choices.map(({ token_ids }: Json) => token_ids.join());
    assertEquals(new Set(tokens).size, choices.length, "each choice is one of its own");
  }
  assertEquals(three.map(({ prompt_logprobs }: Json) => prompt_logprobs.length), [
    ...[21, 21, 21],
    ...[3, 3, 3],
  ]);
  assert(echoed.every(({ logprobs }: Json) => logprobs.tokens.length <= 9 + 12));
  for (const layout of LAYOUTS) assertEquals(await choicesOn(layout), expected);
  assertEquals(await choicesOn({}, 2), expected, "two replicas");
});
