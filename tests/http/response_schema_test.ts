import { assert, assertEquals } from "@std/assert";
import type { z } from "@hono/zod-openapi";
import { chatChunkSchema, chatCompletionSchema } from "../../src/serving/schema/chat_response.ts";
import {
  completionChunkSchema,
  completionSchema,
} from "../../src/serving/schema/completion_response.ts";
import { eventsOf, type Json, testApp } from "./test_server.ts";

/** What changes the shape of answers. */
const SHAPES: readonly Json[] = [
  {},
  { n: 2, return_token_ids: true },
  { return_tokens_as_token_ids: true, stop: "!", max_tokens: 3 },
  { stream_options: { include_usage: true, continuous_usage_stats: true } },
  { stream_options: { include_usage: true } },
  { prompt_logprobs: 2 },
];

const ROUTES = [
  {
    path: "/v1/completions",
    body: { prompt: ["a", "b"], logprobs: 2, echo: true },
    whole: completionSchema,
    chunk: completionChunkSchema,
  },
  {
    path: "/v1/chat/completions",
    body: { messages: [{ role: "user", content: "q" }], logprobs: true, top_logprobs: 2 },
    whole: chatCompletionSchema,
    chunk: chatChunkSchema,
  },
] as const;

/** The schema allows the value, and names every field of it: others would be missing from what it gives. */
function assertDescribed(schema: z.ZodType, value: Json): void {
  const result = schema.safeParse(value);
  assert(result.success, `${result.error?.message}: ${JSON.stringify(value)}`);
  assertEquals(result.data, value);
}

Deno.test("every answer, and every chunk of a stream, is what its schema says, field by field", async () => {
  const { json, post } = testApp({ says: "Hi ☕!" });
  for (const { path, body, whole, chunk } of ROUTES) {
    for (const { stream_options, ...shape } of SHAPES) {
      for (const base of [body, { ...body, logprobs: undefined, top_logprobs: undefined }]) {
        assertDescribed(whole, await json(path, { ...base, ...shape }));
        if (shape.prompt_logprobs !== undefined) continue;
        const request = { ...base, ...shape, stream: true, stream_options };
        const events = eventsOf(await (await post(path, request)).text());
        assert(events.length > 3);
        for (const event of events.slice(0, -1)) assertDescribed(chunk, JSON.parse(event));
      }
    }
  }
});

Deno.test("the OpenAPI document tells of the same answers", async () => {
  const { app } = testApp();
  const { paths, components: { schemas } } = await (await app.request("/openapi.json")).json();
  for (
    const [path, whole, chunk] of [
      ["/v1/completions", "Completion", "CompletionChunk"],
      ["/v1/chat/completions", "ChatCompletion", "ChatCompletionChunk"],
    ]
  ) {
    const { content } = paths[path].post.responses[200];
    assertEquals(content["application/json"].schema.$ref, `#/components/schemas/${whole}`);
    assertEquals(content["text/event-stream"].schema.$ref, `#/components/schemas/${chunk}`);
    for (const name of [whole, chunk]) {
      assert(schemas[name].required.includes("weight_version"), name);
      assert("choices" in schemas[name].properties, name);
    }
  }
});
