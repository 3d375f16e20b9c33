import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CommunicatorError } from "../../src/distributed/communicator.ts";
import { HostChannel } from "../../src/distributed/host_channel.ts";
import type { HostChannelSizes } from "../../src/distributed/host_channel_layout.ts";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { LauncherKind, RankGroup } from "../../src/distributed/launcher.ts";
import { RankChannel } from "../../src/distributed/rank_channel.ts";
import type { ChannelScenario } from "./ranks/host_channel_ranks.ts";

const SIZES: HostChannelSizes = {
  ranks: 2,
  plansInFlight: 3,
  maxPlanBytes: 100,
  boardSteps: 4,
  boardSlots: 4,
  resultBytes: 4096,
};

function launch(
  channel: HostChannel,
  scenario: Omit<ChannelScenario, "handle">,
  launcher: LauncherKind = "thread",
): RankGroup {
  return launchRanks(new URL("./ranks/host_channel_ranks.ts", import.meta.url), {
    size: channel.handle.sizes.ranks,
    launcher,
    args: { ...scenario, handle: channel.handle },
    timeoutMs: 20_000,
    abortMemory: channel.handle.memory,
  });
}

function plan(step: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(step, step * 3, ...Array(step % 5)).buffer);
}

function publish(channel: HostChannel, bytes: Uint8Array): void {
  channel.nextPlan().set(bytes);
  channel.publish(bytes.length);
}

function read(reader: RankChannel): Uint8Array {
  const length = reader.readNext(0);
  assert(length !== null);
  return reader.plan.subarray(0, length);
}

/** Where no result comes. */
function nothing(): void {
  throw new Error("A result came");
}

for (const [launcher, resultBytes] of [["thread", 10], ["process", 10_000]] as const) {
  Deno.test(`${launcher}: plans, tokens and results of 200 steps arrive in order`, async () => {
    await using channel = HostChannel.create({ ...SIZES, ranks: 3 });
    const steps = 200;
    await using ranks = launch(channel, { does: "steps", steps, resultBytes }, launcher);
    const fractions: number[] = [];
    await channel.waitUntilReady({
      timeoutMs: 20_000,
      onProgress: (fraction) => fractions.push(fraction),
    });
    assertEquals(fractions.at(-1), 1);
    assert(fractions.every((fraction, index) => index === 0 || fraction > fractions[index - 1]));
    let [published, retired] = [0, 0];
    const publishMore = () => {
      while (published < Math.min(steps, retired + SIZES.plansInFlight)) {
        publish(channel, plan(published++));
      }
    };
    publishMore();
    await new Promise<void>((resolve, reject) => {
      channel.receive((result) => {
        assertEquals(result.length, resultBytes + retired % 7);
        assert(result.every((byte) => byte === retired % 256));
        retired++;
        publishMore();
        if (retired === steps) resolve();
      }).catch(reject);
    });
    const expected = Array.from({ length: steps }, (_, step) => step + plan(step).length);
    assertEquals(await ranks.results, [expected, expected, expected]);
  });
}

Deno.test("waits end at their deadlines", async () => {
  await using channel = HostChannel.create(SIZES);
  await using ranks = launch(channel, { does: "waits" });
  await channel.waitUntilReady({ timeoutMs: 20_000 });
  publish(channel, plan(0));
  const [tokens, plans] = await ranks.results;
  assertStringIncludes(
    String(tokens),
    "Cannot complete waitTokens on rank 0 within 50 ms: the tokens of step 5 were not posted",
  );
  assertEquals(plans, null);
});

Deno.test("a rank that cannot start says why", async () => {
  await using channel = HostChannel.create(SIZES);
  await using ranks = launch(channel, { does: "fails to start" });
  await assertRejects(
    () => channel.waitUntilReady({ timeoutMs: 20_000 }),
    CommunicatorError,
    "Cannot start as rank 1 failed: Cannot load shard 1: no such file",
  );
  assertEquals(channel.startup()[1].state, "failed");
  channel.abort("rank 1 failed to start");
  await assertRejects(() => ranks.results, Error, "rank 1 failed to start");
});

Deno.test("a rank that does not start in time is named", async () => {
  await using channel = HostChannel.create(SIZES);
  await assertRejects(
    () => channel.waitUntilReady({ timeoutMs: 30 }),
    CommunicatorError,
    "Cannot start within 30 ms: rank 0 is starting",
  );
});

Deno.test("a plan that would overwrite an unread one is refused", async () => {
  await using channel = HostChannel.create(SIZES);
  using reader = RankChannel.open(channel.handle, { rank: 0 });
  // Twice the plans in flight, and the one that a rank holds.
  for (let step = 0; step < 8; step++) publish(channel, plan(step));
  for (let step = 0; step < 8; step++) assertEquals(read(reader), plan(step));
  assertThrows(
    () => publish(channel, plan(8)),
    CommunicatorError,
    "Cannot publish as rank 1 lags behind: it has 8 plans to read",
  );
});

Deno.test("a view of a plan stays whole until the next is read", async () => {
  await using channel = HostChannel.create({ ...SIZES, ranks: 1 });
  using reader = RankChannel.open(channel.handle, { rank: 0 });
  publish(channel, plan(0));
  const view = read(reader);
  for (let step = 1; step < 8; step++) publish(channel, plan(step));
  assertThrows(() => publish(channel, plan(8)), CommunicatorError, "rank 0 lags behind");
  assertEquals(view, plan(0));
  for (let step = 1; step < 300; step++) {
    assertEquals(read(reader), plan(step));
    publish(channel, plan(step + 7));
  }
});

Deno.test("tokens whose place on the board was taken are not handed out", async () => {
  await using channel = HostChannel.create(SIZES);
  using rank = RankChannel.open(channel.handle, { rank: 0 });
  for (let step = 0; step <= 4; step++) {
    rank.postTokens(step, [{ slot: 1, token: step }]);
  }
  assertEquals(rank.waitTokens(4, 0)[1], 4);
  assertEquals(rank.waitTokens(3, 0)[1], 3);
  assertThrows(() => rank.waitTokens(0, 0), RangeError, "step 4 has taken its place");
  assertThrows(
    () => rank.postTokens(5, [{ slot: 4, token: 1 }]),
    RangeError,
    "4 slots: 4",
  );
});

Deno.test("a leader that does not read stops a rank at its deadline", async () => {
  await using channel = HostChannel.create(SIZES);
  using rank = RankChannel.open(channel.handle, { rank: 0 });
  assertThrows(
    () => rank.sendResult(new Uint8Array(100_000), 50),
    CommunicatorError,
    "Cannot complete sendResult on rank 0 within 50 ms: the leader has not read",
  );
  await assertRejects(() => channel.receive(nothing), CommunicatorError, "the leader has not read");
});

Deno.test("an abort by a rank reaches the leader, its peers and the world", async () => {
  await using channel = HostChannel.create(SIZES);
  await using ranks = launch(channel, { does: "aborts" });
  const start = performance.now();
  await assertRejects(
    () => channel.receive(nothing),
    CommunicatorError,
    "aborted: rank 1 has had enough",
  );
  assertEquals(channel.abortReason, { rank: 1, text: "rank 1 has had enough" });
  assertThrows(() => publish(channel, plan(0)), CommunicatorError, "rank 1 has had enough");
  assertStringIncludes(String((await ranks.results)[0]), "rank 1 has had enough");
  assertLess(performance.now() - start, 5000);
});

Deno.test("a rank process that dies makes the leader's wait fail at once", async () => {
  await using channel = HostChannel.create(SIZES);
  await using ranks = launch(channel, { does: "waits" }, "process");
  await channel.waitUntilReady({ timeoutMs: 20_000 });
  const start = performance.now();
  const next = assertRejects(
    () => channel.receive(nothing),
    CommunicatorError,
    "aborted: its process was killed by SIGKILL",
  );
  Deno.kill(ranks.pids[0], "SIGKILL");
  await next;
  assertLess(performance.now() - start, 1000);
  assertEquals(channel.abortReason?.rank, 0);
});

Deno.test("disposing the channel ends a pending wait", async () => {
  const channel = HostChannel.create(SIZES);
  const next = channel.receive(nothing);
  await assertRejects(() => channel.receive(nothing), Error, "another call already does");
  await channel[Symbol.asyncDispose]();
  await next;
});

Deno.test("sizes out of range are refused by name", () => {
  assertThrows(() => HostChannel.create({ ...SIZES, ranks: 0 }), RangeError, "ranks is not");
  assertThrows(
    () => HostChannel.create({ ...SIZES, maxPlanBytes: 1.5 }),
    RangeError,
    "maxPlanBytes",
  );
  const huge = { ...SIZES, plansInFlight: 65_536, maxPlanBytes: 1 << 30 };
  assertThrows(() => HostChannel.create(huge), RangeError, "larger than 4294967296 bytes");
});

Deno.test("a plan that is too long is refused", async () => {
  await using channel = HostChannel.create(SIZES);
  assertThrows(
    () => channel.publish(101),
    RangeError,
    "longer than 100 bytes: 101",
  );
});
