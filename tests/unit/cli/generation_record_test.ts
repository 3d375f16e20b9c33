import { assertEquals } from "@std/assert";
import { collectGeneration } from "../../../src/cli/generation_record.ts";
import type { GenerationChunk } from "../../../src/engine/types.ts";

async function* stream(...chunks: Partial<GenerationChunk>[]): AsyncGenerator<GenerationChunk> {
  for (const chunk of chunks) {
    yield {
      tokenIds: [],
      text: "",
      finishReason: null,
      stopReason: null,
      weightVersion: "first",
      ...chunk,
    };
  }
  await Promise.resolve();
}

Deno.test("the chunks of a generation become one record", async () => {
  const record = await collectGeneration(
    [7, 8],
    stream(
      { tokenIds: [1, 2], text: "one two" },
      { tokenIds: [3], text: " three", finishReason: "length" },
    ),
  );
  assertEquals(JSON.parse(JSON.stringify(record)), {
    prompt_token_ids: [7, 8],
    token_ids: [1, 2, 3],
    text: "one two three",
    finish_reason: "length",
    usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
  });
});

Deno.test("log-probabilities keep their order, and -Infinity stays a number in JSON", async () => {
  const record = await collectGeneration(
    [7, 8, 9],
    stream(
      {
        tokenIds: [1],
        logprobs: [{ tokenId: 1, logprob: -0.5, top: [[1, -0.5], [4, -Infinity]] }],
        promptLogprobs: [
          null,
          { tokenId: 8, logprob: -1.25, top: [] },
          { tokenId: 9, logprob: -Infinity, top: [] },
        ],
      },
      {
        tokenIds: [2],
        logprobs: [{ tokenId: 2, logprob: -2, top: [] }],
        finishReason: "stop",
      },
    ),
  );
  const { logprobs, prompt_logprobs } = JSON.parse(JSON.stringify(record));
  assertEquals(prompt_logprobs, [null, -1.25, -9999]);
  assertEquals(logprobs, [
    { token_id: 1, logprob: -0.5, top: [[1, -0.5], [4, -9999]] },
    { token_id: 2, logprob: -2, top: [] },
  ]);
});
