import { assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { Scenario } from "./ranks/group_failures.ts";

const ENTRY = new URL("./ranks/group_failures.ts", import.meta.url);

async function run<Result>(scenario: Scenario, size: number): Promise<Result[]> {
  await using ranks = launchRanks<Result>(ENTRY, {
    size,
    args: scenario,
    timeoutMs: 20_000,
    channelBytes: 4096,
  });
  return await ranks.results;
}

Deno.test("float sums follow the tree: (1e8 + 1) + (-1e8 + 1) is 0 in f32", async () => {
  assertEquals(await run("treeOrder", 4), [0, 0, 0, 0]);
});

Deno.test("a rank that is late is named, and the group stays aborted", async () => {
  const results = await run<string[]>("late", 4);
  const first = results.map(([message]) => message);
  const reporter = first.findIndex((message) => !message.includes("as the group was aborted"));
  const why =
    `Cannot complete allReduce on rank ${reporter} of 4 within 300 ms: rank 3 has not arrived`;
  assertEquals(first[reporter], `allReduce ${reporter}: ${why}`);
  assertStringIncludes(first[3], "as the group was aborted: Cannot complete allReduce on rank");
  for (const [, second] of results) assertStringIncludes(second, "as the group was aborted: ");
});

Deno.test("a sender that is late is named", async () => {
  const [, receiver] = await run<string>("lateSender", 2);
  assertEquals(
    receiver,
    "recv 1: Cannot complete recv on rank 1 of 2 within 300 ms: rank 0 has not sent",
  );
});

Deno.test("a receiver that is late is named once the channel is full", async () => {
  const [sender] = await run<string>("lateReceiver", 2);
  assertEquals(
    sender,
    "send 0: Cannot complete send on rank 0 of 2 within 300 ms: rank 1 has not received",
  );
});

Deno.test("ranks that call different operations are told so", async () => {
  const [zero, one, two] = await run<string>("differentCalls", 3);
  const complaint = (rank: number) =>
    `allReduce ${rank}: Cannot complete allReduce of 8 f32 (max) on rank ${rank} of 3: ` +
    "rank 2 called allGather of 8 f32";
  assertEquals(zero, complaint(0));
  assertEquals(one, complaint(1));
  assertStringIncludes(
    two,
    "Cannot complete allGather of 8 f32 on rank 2 of 3: rank 0 called allReduce",
  );
});

Deno.test("ranks that call with different counts are told so", async () => {
  const [zero, one] = await run<string>("differentCounts", 2);
  assertStringIncludes(
    zero,
    "broadcast of 4 f32 from rank 1 on rank 0 of 2: rank 1 called broadcast of 5 f32",
  );
  assertStringIncludes(
    one,
    "broadcast of 5 f32 from rank 1 on rank 1 of 2: rank 0 called broadcast of 4 f32",
  );
});

Deno.test("a message of another length than expected is refused", async () => {
  const [sender, receiver] = await run<string>("differentMessage", 2);
  assertStringIncludes(receiver, "Cannot complete recv of 4 f32 on rank 1 of 2: rank 0 sent 8 f32");
  assertStringIncludes(sender, "as the group was aborted: Cannot complete recv of 4 f32");
});

Deno.test("abort ends pending and later operations with its reason", async () => {
  const results = await run<{ message: string; waited: number }>("abort", 3);
  for (const { message, waited } of results) {
    assertMatch(message, /^(barrier|recv|allReduce) \d: .* as the group was aborted: enough$/);
    assertLess(waited, 2000);
  }
});

Deno.test("arguments out of range are refused before anything is moved", async () => {
  const [messages] = await run<string[]>("arguments", 2);
  const expected = [
    "RangeError: Cannot allReduce as the count is not an integer from 0 to 4294967295: -1",
    "RangeError: Cannot allReduce as the count is not an integer from 0 to 4294967295: 4294967296",
    "TypeError: Cannot allReduce the sum of 16-bit floats as their partial results are kept in f32: dtype is bf16",
    "RangeError: Cannot broadcast as the group has no such rank: 2 is not in 0..1",
    "RangeError: Cannot send as the peer is the rank itself: 0",
    "RangeError: Cannot split a group as color and key are not 32-bit integers from 0 (color): -1, 0",
  ];
  assertEquals(messages, expected);
});

Deno.test("split forms groups by color, orders them by key, and outlives its parent", async () => {
  const results = await run<{ place: number[]; kind: string; sums: number[]; after: number }>(
    "split",
    8,
  );
  // Even ranks 0 2 4 6 and odd ranks 7 5 3 1; pairs (0 2) (4 6) (7 5) (3 1).
  const pairSums = [2, 4, 2, 4, 10, 12, 10, 12];
  results.forEach(({ place, kind, sums, after }, rank) => {
    const groupRank = rank % 2 === 0 ? rank / 2 : (7 - rank) / 2;
    assertEquals(place, [groupRank, 4, groupRank % 2, 2]);
    assertEquals(sums, [rank % 2 === 0 ? 12 : 16, pairSums[rank], rank]);
    assertEquals(kind, "single");
    assertEquals(after, 2);
  });
});

Deno.test("a failure in one group of a launch ends the waits of the others", async () => {
  const [zero, one, two, three] = await run<string>("splitFailure", 4);
  for (const waiting of [zero, one]) {
    assertStringIncludes(waiting, "as the group was aborted: Cannot complete ");
  }
  assertStringIncludes(
    two,
    "Cannot complete allReduce of 8 f32 (sum) on rank 0 (world rank 2) of 2: " +
      "rank 1 (world rank 3) called barrier",
  );
  assertStringIncludes(three, "rank 0 (world rank 2) called allReduce of 8 f32 (sum)");
});

Deno.test("a 2 x 2 x 2 mesh has a communicator for each axis", async () => {
  const results = await run<Record<string, unknown>>("mesh", 8);
  results.forEach((result, rank) => {
    const [data, pipeline, tensor] = [rank >> 2, (rank >> 1) & 1, rank & 1];
    assertEquals(result, {
      dataParallelRank: data,
      pipelineParallelRank: pipeline,
      tensorParallelRank: tensor,
      sums: [rank + (rank ^ 4), rank + (rank ^ 2), rank + (rank ^ 1)],
      ranks: [data, pipeline, tensor],
    });
  });
});
