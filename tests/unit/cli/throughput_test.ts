import { assert, assertEquals, assertRejects } from "@std/assert";
import { median, randomPrompts, timeDecode, timePrefill } from "../../../src/cli/throughput.ts";
import type { GenerateRequest, GenerationChunk, Replica } from "../../../src/engine/types.ts";

const EMPTY: GenerationChunk = {
  tokenIds: [],
  text: "",
  finishReason: null,
  stopReason: null,
  weightVersion: "first",
};

/**
 * A replica on a clock of its own. Step s takes one second; the n-th request has its first token in
 * step n (a prefill each), then one token in every step.
 */
class SteppedReplica {
  now = 0;
  running = 0;
  cancelled = 0;
  readonly #streams: { push: (chunk: GenerationChunk) => void; left: number }[] = [];

  clock = () => this.now;

  asReplica(): Replica {
    return this as unknown as Replica;
  }

  /** Runs steps until nobody waits for one. */
  async run(): Promise<void> {
    while (this.running > 0) {
      this.now += 1000;
      this.#streams.forEach((stream, index) => {
        if (this.now < (index + 1) * 1000 || stream.left === 0) return;
        stream.left--;
        const finishReason = stream.left === 0 ? "length" as const : null;
        stream.push({ ...EMPTY, tokenIds: [5], finishReason });
      });
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerationChunk> {
    const queue: GenerationChunk[] = [];
    let wake = () => {};
    this.#streams.push({
      left: request.sampling!.maxTokens!,
      push: (chunk) => {
        queue.push(chunk);
        wake();
      },
    });
    request.signal?.addEventListener("abort", () => wake());
    this.running++;
    try {
      while (true) {
        if (queue.length === 0) {
          if (request.signal?.aborted) {
            this.cancelled++;
            yield { ...EMPTY, finishReason: "abort" };
            return;
          }
          await new Promise<void>((resolve) => wake = resolve);
          continue;
        }
        const chunk = queue.shift()!;
        yield chunk;
        if (chunk.finishReason !== null) return;
      }
    } finally {
      this.running--;
    }
  }
}

Deno.test("prefill is timed to the first token of the last prompt", async () => {
  const replica = new SteppedReplica();
  const timed = timePrefill(replica.asReplica(), [[1, 2, 3], [4, 5, 6]], replica.clock);
  await replica.run();
  assertEquals(await timed, { tokens: 6, seconds: 2 });
});

Deno.test("decode is timed only while every sequence decodes, and the rest is cancelled", async () => {
  const replica = new SteppedReplica();
  const timed = timeDecode(replica.asReplica(), [[1], [2], [3]], {
    decodeTokens: 4,
    maxModelLen: 100,
    clock: replica.clock,
  });
  await replica.run();
  assertEquals(await timed, { tokens: 12, seconds: 4 });
  assertEquals(replica.cancelled, 3);
});

Deno.test("the window closes when a sequence runs out of context", async () => {
  const replica = new SteppedReplica();
  const timed = timeDecode(replica.asReplica(), [[1], [2]], {
    decodeTokens: 50,
    maxModelLen: 6,
    clock: replica.clock,
  });
  await replica.run();
  // The first sequence has tokens in steps 1 to 5, the second starts in step 2.
  const { tokens, seconds } = await timed;
  assertEquals(seconds, 3);
  assert(tokens >= 5 && tokens <= 6, `tokens: ${tokens}`);
});

Deno.test("a sequence that ends before the last has started is an error", async () => {
  const replica = new SteppedReplica();
  const timed = assertRejects(
    () =>
      timeDecode(replica.asReplica(), [[1], [2], [3]], {
        decodeTokens: 4,
        maxModelLen: 2,
        clock: replica.clock,
      }),
    Error,
    "--max-model-len",
  );
  await replica.run();
  await timed;
});

Deno.test("random prompts are the same for a seed, different for another, inside the vocabulary", () => {
  const prompts = (seed: number) => randomPrompts({ count: 3, length: 200, vocabSize: 50, seed });
  assertEquals(prompts(7), prompts(7));
  assert(JSON.stringify(prompts(7)) !== JSON.stringify(prompts(8)));
  const ids = prompts(7).flat();
  assert(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 50));
  assertEquals(new Set(ids).size, 50);
});

Deno.test("median takes the middle", () => {
  assertEquals([median([3, 1, 2]), median([4, 1, 2, 3]), median([5])], [2, 2.5, 5]);
});
