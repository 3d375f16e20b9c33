/** 64 requests at once, with too few blocks for all: each gets exactly what it gets alone. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { eventually, metric, metrics, type ServeProcess, startServe } from "./serve_process.ts";

interface Question {
  readonly prompt_token_ids: number[];
}

const QUESTIONS: Question[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../models/demo/questions.json", import.meta.url)),
);

/** Requests of mixed length: greedy and seeded, with and without log-probabilities. */
function requests(): Record<string, unknown>[] {
  return Array.from({ length: 64 }, (_, i) => {
    const question = QUESTIONS[i % QUESTIONS.length].prompt_token_ids;
    const repeat = 1 + (i * 7) % 11;
    return {
      model: "demo",
      prompt: Array.from({ length: repeat }, () => question).flat().slice(0, 200),
      max_tokens: 8 + (i * 13) % 90,
      ignore_eos: true,
      return_token_ids: true,
      logprobs: i % 3 === 0 ? 3 : undefined,
      ...(i % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, top_p: 0.95, top_k: 40, seed: i }),
    };
  });
}

async function complete(server: ServeProcess, body: Record<string, unknown>): Promise<unknown> {
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  const { choices, usage } = answer;
  return { choices, usage };
}

Deno.test("load: 64 concurrent requests equal the same requests alone, with preemptions", async () => {
  const bodies = requests();
  let alone: unknown[] = [];
  {
    await using server = await startServe("--served-model-name", "demo", "--max-num-seqs", "1");
    alone = await Promise.all(bodies.map((body) => complete(server, body)));
    assertEquals(await server.stop(), 0);
  }
  const layouts = [[], ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"]];
  for (const layout of layouts) {
    await using server = await startServe(
      ...["--served-model-name", "demo", "--num-kv-blocks", "40", "--max-num-batched-tokens", "96"],
      ...layout,
    );
    const together = await Promise.all(bodies.map((body) => complete(server, body)));
    together.forEach((answer, i) => assertEquals(answer, alone[i], `request ${i} of [${layout}]`));
    const text = await metrics(server.url);
    assertGreater(metric(text, "vllm:num_preemptions_total"), 0);
    assertEquals(metric(text, "weft:kv_blocks_total"), 40);
    await eventually(async () => metric(await metrics(server.url), "weft:kv_blocks_free") === 40, {
      what: "all blocks are free",
    });
    assertEquals(await server.stop(), 0);
    assert(!server.log().includes(" ERROR "), server.log());
  }
});
