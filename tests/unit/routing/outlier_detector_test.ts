import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { OutlierDetector, type OutlierOptions } from "../../../src/routing/outlier_detector.ts";
import { RecentTimes } from "../../../src/routing/recent_times.ts";

type Times = Readonly<Record<string, readonly number[]>>;

function detectorOf(times: Times, options?: OutlierOptions): OutlierDetector {
  const detector = new OutlierDetector(options);
  for (const [id, all] of Object.entries(times)) {
    for (const milliseconds of all) detector.note(id, { milliseconds, tokens: 10, at: 0 });
  }
  return detector;
}

const repeat = (value: number, count = 8): number[] => Array.from({ length: count }, () => value);

const outliers = (times: Times, options?: OutlierOptions): string[] =>
  detectorOf(times, options).outliers(Object.keys(times), 0).map(({ id }) => id);

Deno.test("recent times: the latest 128, without those that are too old", () => {
  const times = new RecentTimes(1000);
  assertEquals(times.summary(0).count, 0);
  for (let i = 0; i < 300; i++) times.add(i, { tokens: 2 * i, at: i });
  assertEquals(times.summary(300), { count: 128, median: 236, p99: 298, tokens: 471 });
  assertEquals(times.summary(1289).count, 11);
});

Deno.test("who begins far later than the others is an outlier", () => {
  const [fast, slow, slower] = [repeat(20), repeat(900), repeat(2000)];
  assertEquals(outliers({ a: fast, b: slow, c: fast }), ["b"]);
  assertEquals(outliers({ a: fast, b: slow, c: fast, d: slower, e: fast }), ["d", "b"]);
  assertEquals(outliers({ a: fast, b: slow }), [], "of two nobody knows who is unusual");
  assertEquals(outliers({ a: fast, b: slow, c: slow }), [], "nor where most are slow");
  assertEquals(outliers({ a: fast, b: repeat(900, 7), c: fast }), [], "too few requests");
  assertEquals(outliers({ a: fast, b: slow, c: repeat(20, 7) }), [], "too few replicas");
  assertEquals(outliers({ a: repeat(1), b: repeat(200), c: repeat(1) }), [], "nobody minds 0.2 s");
  assertEquals(outliers({ a: repeat(500), b: slow, c: repeat(500) }), [], "not far later");
  const sometimes = [...repeat(20), ...repeat(5000, 7)];
  assertEquals(outliers({ a: fast, b: sometimes, c: fast }), [], "most of its answers are soon");
  const detector = detectorOf({ a: fast, b: slow, c: fast });
  assertEquals(detector.outliers(["a", "b", "c"], 121_000), [], "that was long ago");
  detector.forget("b");
  assertEquals(detector.outliers(["a", "b", "c"], 0), []);
});

Deno.test("silence is measured by what others take, and by what waits", () => {
  const detector = detectorOf({ a: repeat(600), b: repeat(20), c: repeat(500) });
  const silence = (id: string, tokens = 10, ids = ["a", "b", "c"]): number =>
    detector.silenceMs(id, { ids, tokens, now: 0 });
  assertEquals(silence("b"), 3000, "five times what others take");
  assertEquals(silence("b", 40), 12_000, "four times the work may take four times as long");
  assertEquals(silence("c", 10, ["b", "c"]), 2000, "at least");
  assertEquals(silence("b", 10, ["b"]), Infinity, "there is no one to compare with");
  assertEquals(silence("b", 10, ["b", "d"]), Infinity, "d is not known");
});

Deno.test("options that would eject replicas like all others are refused", () => {
  for (
    const options of [
      { factor: 0.9 },
      { factor: NaN },
      { minReplicas: 1 },
      { minRequests: 0 },
      { marginMs: -1 },
      { silenceFactor: 0 },
      { silenceFloorMs: -1 },
      { windowMs: NaN },
    ]
  ) {
    const [[name]] = Object.entries(options);
    assertThrows(() => new OutlierDetector(options), RangeError, name);
  }
});

Deno.test("never the faster half, never one like the others, and always one that is far slower", () => {
  const time = fc.double({ min: 0, max: 1e5, noNaN: true });
  const fleet = fc.array(fc.array(time, { maxLength: 40 }), { minLength: 1, maxLength: 9 });
  fc.assert(fc.property(fleet, (all) => {
    const times = Object.fromEntries(all.map((times, i) => [`r${i}`, times]));
    const found = outliers(times);
    assert(found.length <= all.length / 2, `${found}`);
    const known = Object.entries(times).filter(([, { length }]) => length >= 8);
    const median = (values: readonly number[]): number =>
      values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
    const lowest = Math.min(...known.map(([, values]) => median(values)));
    for (const [id, values] of known) {
      if (median(values) <= 5 * lowest || median(values) <= lowest + 250) {
        assert(!found.includes(id));
      }
    }
    if (known.length < 2) return;
    const highest = Math.max(...known.map(([, values]) => median(values)));
    assert(outliers({ ...times, worst: repeat(5 * highest + 251) }).includes("worst"));
  }));
});
