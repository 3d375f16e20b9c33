import { assertEquals, assertRejects } from "@std/assert";
import { OutputPacker, unpackOutputs } from "../../../src/engine/output_batch.ts";
import { OutputStream } from "../../../src/engine/output_stream.ts";
import { Scheduler, type SchedulerOutput } from "../../../src/engine/scheduler/scheduler.ts";
import { SharedStats } from "../../../src/engine/shared_stats.ts";
import { schedulerOptions } from "./_simulation.ts";

function token(id: number, value: number, more: Partial<SchedulerOutput> = {}): SchedulerOutput {
  return { id, tokenIds: [value], finishReason: null, stopReason: null, ...more };
}

Deno.test("outputs arrive as they were packed, each once, whatever they say", () => {
  const packer = new OutputPacker();
  const logprobs = [{ tokenId: 7, logprob: -0.5, top: [] }];
  const batches = [
    [token(2 ** 33, 5), token(1, 319)],
    [token(1, 6, { logprobs }), token(2, 0, { promptLogprobs: [null] }), token(3, 4)],
    [token(1, 9, { finishReason: "stop", stopReason: 9 }), token(2, 3)],
    [{ id: 4, tokenIds: [], finishReason: "length", stopReason: null } as const],
    [],
  ];
  const posted = batches.map((outputs) => structuredClone(packer.pack(outputs)));
  const byId = (a: SchedulerOutput, b: SchedulerOutput) => Number(a.id) - Number(b.id);
  posted.forEach((batch, i) => {
    const arrived: SchedulerOutput[] = [];
    unpackOutputs(batch, (output) => arrived.push(output));
    assertEquals(arrived.toSorted(byId), batches[i].toSorted(byId));
  });
});

Deno.test("a stream gives items in order to who waits and who comes later, then fails", async () => {
  const stream = new OutputStream<number>();
  const first = stream.next();
  stream.push(1);
  stream.push(2);
  stream.fail(new Error("the end"));
  stream.push(3);
  assertEquals([await first, await stream.next()], [1, 2]);
  await assertRejects(() => stream.next(), Error, "the end");
  const other = new OutputStream<number>();
  const waiting = assertRejects(() => other.next(), Error, "gone");
  other.fail(new Error("gone"));
  await waiting;
});

Deno.test("counters written on one side are read on the other", () => {
  const reader = new SharedStats();
  const stats = { ...new Scheduler(schedulerOptions()).stats, promptTokens: 2 ** 40, steps: 8 };
  new SharedStats(reader.memory).write(stats);
  assertEquals(reader.read(), stats);
});
