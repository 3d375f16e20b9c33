import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  answerBatch,
  type AnswerBatchOptions,
  type BatchAnswer,
  type BatchServer,
} from "../../../../src/serving/batch/answer_batch.ts";
import type { BatchRequest } from "../../../../src/serving/batch/batch_input.ts";
import { testApp } from "../../../http/test_server.ts";

function* requests(count: number): Generator<BatchRequest> {
  for (let i = 0; i < count; i++) {
    yield { customId: `r${i}`, url: "/v1/completions", body: { prompt: [i + 1], max_tokens: 2 } };
  }
}

/** A server that answers as `script` says, and then well. */
function scripted(
  script: readonly (Response | (() => string | null))[],
): BatchServer & { readonly bodies: string[] } {
  const left = [...script];
  const bodies: string[] = [];
  let failure: () => string | null = () => null;
  return {
    concurrency: 1,
    bodies,
    failure: () => failure(),
    async fetch(request) {
      bodies.push(await request.text());
      const next = left.shift();
      if (next instanceof Response) return next;
      if (next === undefined) {
        return Response.json({ usage: { prompt_tokens: 1, completion_tokens: 2 } });
      }
      failure = next;
      return Response.json({ error: { code: "no_replica", message: "gone" } }, { status: 503 });
    },
  };
}

function answers(
  server: BatchServer,
  options: Partial<AnswerBatchOptions> & { readonly count?: number } = {},
): Promise<BatchAnswer[]> {
  const { count = 1 } = options;
  return Array.fromAsync(answerBatch(ReadableStream.from(requests(count)), {
    server,
    order: "input",
    patienceMs: 0,
    pauseMs: 1,
    signal: new AbortController().signal,
    ...options,
  }));
}

const status = (code: number): Response =>
  Response.json({ error: { code: `c${code}`, message: `m${code}` } }, { status: code });

Deno.test("answers are those of the server, with what they took", async () => {
  const { app } = testApp({ says: "Hi there" });
  const server = { fetch: app.fetch, failure: () => null, concurrency: 3 };
  const given = await answers({ ...server, fetch: (request) => app.fetch(request) }, { count: 7 });
  assertEquals(given.map(({ line }) => line.custom_id), [..."0123456"].map((i) => `r${i}`));
  for (const { line, promptTokens, generationTokens } of given) {
    assertEquals([promptTokens, generationTokens, line.error], [1, 2, null]);
    assertEquals(line.response.status_code, 200);
    // deno-lint-ignore no-explicit-any
    assertEquals((line.response.body as any).choices[0].text, "Hi");
  }
  const ids = given.flatMap(({ line }) => [line.id, line.response.request_id]);
  assertEquals(new Set(ids).size, 14);
});

Deno.test("a request that is refused has an answer that says so, and is not sent again", async () => {
  const server = scripted([status(400)]);
  const [refused, served] = await answers(server, { count: 2 });
  assertEquals(refused.line.response.status_code, 400);
  assertEquals(refused.line.response.body, { error: { code: "c400", message: "m400" } });
  assertEquals(refused.line.error, { code: "c400", message: "m400" });
  assertEquals([served.line.error, server.bodies.length], [null, 2]);
});

Deno.test("a request that a server failed is sent again, a few times", async () => {
  const unlucky = scripted([status(503), status(429), status(500)]);
  assertEquals((await answers(unlucky))[0].line.error, null);
  assertEquals(unlucky.bodies, Array(4).fill(`{"prompt":[1],"max_tokens":2}`));
  const hopeless = scripted(Array.from({ length: 9 }, () => status(502)));
  assertEquals((await answers(hopeless))[0].line.error?.code, "c502");
  assertEquals(hopeless.bodies.length, 6);
});

Deno.test("an answer that is no JSON is an error", async () => {
  const [{ line }] = await answers(scripted([new Response("<html>")]));
  assertEquals(line.response.body, "<html>");
  assertEquals(line.error, { code: "status_200", message: "<html>" });
});

Deno.test("while nobody can answer the batch waits, and what nobody saw was not tried", async () => {
  let looks = 0;
  const back = (): string | null => ++looks % 4 === 0 ? null : "all are down";
  const server = scripted(Array.from({ length: 10 }, () => back));
  assertEquals((await answers(server, { patienceMs: 60_000 }))[0].line.error, null);
  assertEquals(server.bodies.length, 11);
  await assertRejects(
    () => answers(scripted([() => "all are down"])),
    Error,
    "Cannot go on with the batch as nobody is left to answer: all are down",
  );
});

Deno.test("a signal ends the batch, and the requests under way", async () => {
  const cancel = new AbortController();
  const signals: AbortSignal[] = [];
  const server: BatchServer = {
    concurrency: 2,
    failure: () => null,
    fetch(request) {
      signals.push(request.signal);
      if (signals.length === 2) queueMicrotask(() => cancel.abort(new Error("enough")));
      const { promise, reject } = Promise.withResolvers<Response>();
      request.signal.addEventListener("abort", () => reject(request.signal.reason));
      return promise;
    },
  };
  const { message } = await assertRejects(
    () => answers(server, { count: 5, signal: cancel.signal }),
    Error,
  );
  assertMatch(message, /enough/);
  assertEquals(signals.length, 2);
  assert(signals.every(({ aborted }) => aborted));
});
