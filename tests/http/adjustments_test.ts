/** Penalties, biases, bad words and what ends a text, asked of a real server in OpenAI's and vLLM's fields. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import OpenAI from "openai";
import { startServe } from "./serve_process.ts";

const prompt = "What is 45 + 16?";
const messages = [{ role: "user" as const, content: prompt }];

interface Choice {
  readonly text: string;
  readonly token_ids: number[];
  readonly finish_reason: string;
  readonly stop_reason: string | number | null;
}

Deno.test("serve: logits are adjusted as requests ask, and texts end where they say", async () => {
  await using server = await startServe();
  const complete = async (fields: Record<string, unknown>): Promise<Choice> => {
    const defaults = { prompt, temperature: 0, max_tokens: 12, ignore_eos: true };
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...defaults, return_token_ids: true, ...fields }),
    });
    const body = await response.json();
    assertEquals(response.status, 200, JSON.stringify(body));
    return body.choices[0];
  };
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const chat = async (fields: Record<string, unknown>) => {
    const request = { model: "demo", messages, temperature: 0, ...fields };
    const { choices } = await client.chat.completions.create(request);
    return choices[0];
  };

  // Without any, what all others are compared with.
  const answer = await chat({});
  assertEquals(answer.message.content, "45 + 16 = 61");
  const plain = await complete({});
  const [first] = plain.token_ids;

  // Words, in a text and at its start; some take several tokens.
  for (const word of ["61", "16", "45 + 16", "="]) {
    const { message } = await chat({ bad_words: [word], max_completion_tokens: 16 });
    assert(!message.content?.includes(word), `${word}: ${message.content}`);
  }

  // Tokens.
  const banned = await complete({ logit_bias: { [first]: -100 } });
  assert(!banned.token_ids.includes(first));
  const forced = await complete({ logit_bias: { 77: 100 } });
  assertEquals(new Set(forced.token_ids), new Set([77]));
  const varied = await complete({ logit_bias: { 77: 100 }, presence_penalty: 2, max_tokens: 9 });
  assertEquals(varied.token_ids, forced.token_ids.slice(0, 9));
  const allowed = await complete({ allowed_token_ids: [80, 81, 82] });
  assert(allowed.token_ids.every((id) => id >= 80 && id <= 82));
  const penalized = await complete({ frequency_penalty: 2, repetition_penalty: 2, max_tokens: 40 });
  const most = (ids: number[]) => Math.max(...ids.map((id) => ids.filter((x) => x === id).length));
  assert(most(penalized.token_ids) < most((await complete({ max_tokens: 40 })).token_ids));

  // Ends.
  const long = await chat({ min_tokens: 16, max_completion_tokens: 20 });
  assertNotEquals(long.message.content, answer.message.content);
  const cut = { stop: ["+ 16"], include_stop_str_in_output: true };
  assertEquals((await chat(cut)).message.content, "45 + 16");
  assertEquals(
    (await chat({ ...cut, min_tokens: 12, max_completion_tokens: 12 })).finish_reason,
    "length",
  );
  const stopped = await complete({
    ignore_eos: false,
    stop_token_ids: [77],
    logit_bias: { 77: 100 },
  });
  assertEquals([stopped.text, stopped.stop_reason], ["", 77]);
  const kept = { stop_token_ids: [77], logit_bias: { 77: 100 }, include_stop_str_in_output: true };
  assertNotEquals((await complete(kept)).text, "");

  // Special tokens.
  const special = { allowed_token_ids: [1], max_tokens: 2 };
  assertEquals((await complete(special)).text, "");
  assertNotEquals((await complete({ ...special, skip_special_tokens: false })).text, "");

  // Nothing to draw.
  const none = { allowed_token_ids: [77], stop_token_ids: [77], min_tokens: 1 };
  const refused = await chat(none).catch((error) => error);
  assert(refused instanceof OpenAI.BadRequestError);
  assertEquals(refused.param, "allowed_token_ids");
});
