import { assertEquals } from "@std/assert";
import type { RoutedOutcome } from "../../../../src/routing/balancing_policy.ts";
import { CanaryJudge, type CanaryLimits } from "../../../../src/routing/updates/canary_judge.ts";

const LIMITS: CanaryLimits = {
  durationMs: 100,
  minRequests: 20,
  timeoutMs: 1000,
  maxErrorRate: 0.1,
  maxLatencyRatio: 1.5,
};

function served(milliseconds: number, stream = true): RoutedOutcome {
  return {
    stream,
    firstByteMs: stream ? milliseconds : null,
    totalMs: stream ? 10_000 : milliseconds,
    failed: false,
  };
}

const FAILED: RoutedOutcome = { stream: true, firstByteMs: null, totalMs: 1, failed: true };

function judgeOf(
  fresh: readonly RoutedOutcome[],
  stable: readonly RoutedOutcome[],
  limits = LIMITS,
): CanaryJudge {
  const judge = new CanaryJudge(limits);
  for (const outcome of fresh) judge.add("fresh", outcome);
  for (const outcome of stable) judge.add("stable", outcome);
  return judge;
}

const times = (count: number, outcome: RoutedOutcome): RoutedOutcome[] =>
  Array(count).fill(outcome);

Deno.test("a canary is watched for a time and for a number of requests", () => {
  const judge = judgeOf(times(19, served(5)), times(100, served(5)));
  assertEquals([judge.verdict(99), judge.verdict(999)], ["wait", "wait"]);
  assertEquals(judge.verdict(1000), { reject: "there were too few requests: 19 of 20" });
  judge.add("fresh", served(5));
  assertEquals([judge.verdict(99), judge.verdict(100)], ["wait", "promote"]);
});

Deno.test("a canary fails no more than the others, and is rejected as soon as it must be", () => {
  const two = judgeOf(times(2, FAILED), []);
  assertEquals(two.verdict(0), "wait");
  two.add("fresh", FAILED);
  assertEquals(two.verdict(0), { reject: "3 of 3 requests failed" });
  const alike = [...times(10, FAILED), ...times(10, served(5))];
  assertEquals(judgeOf(alike, alike).verdict(100), "promote");
});

Deno.test("a canary is as fast as the others, in streams and in other answers", () => {
  const slow = (stream: boolean) =>
    judgeOf(times(20, served(16, stream)), times(20, served(10, stream))).verdict(100);
  const reject = "a median answer takes 16.0 ms instead of 10.0";
  assertEquals([slow(true), slow(false)], [{ reject }, { reject }]);
  assertEquals(judgeOf(times(20, served(15)), times(20, served(10))).verdict(100), "promote");
  assertEquals(
    judgeOf(times(20, served(99, true)), times(20, served(10, false))).verdict(100),
    "promote",
    "they have nothing in common",
  );
  assertEquals(judgeOf(times(20, served(99)), times(9, served(10))).verdict(100), "promote");
});
