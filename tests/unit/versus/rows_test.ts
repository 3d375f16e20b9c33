import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { alternate, figuresOf, type Sample, type Side } from "../../../bench/versus/alternate.ts";
import { makeRow } from "../../../bench/versus/row.ts";
import { pairedRatios, summarize } from "../../../bench/versus/statistics.ts";
import { formatCaption, formatTable } from "../../../bench/versus/table.ts";

Deno.test("a summary holds the median, the extremes and the samples in order", () => {
  assertEquals(summarize([3, 1, 2]), { median: 2, min: 1, max: 3, samples: [3, 1, 2] });
  assertThrows(() => summarize([]), RangeError);
  assertThrows(() => summarize([1, NaN]), RangeError);
});

Deno.test("ratios are taken run by run", () => {
  // The second pair was disturbed: the ratio of medians would say 10 / 4.
  assertEquals(pairedRatios([10, 2, 12], [5, 1, 4]).samples, [2, 2, 3]);
  assertEquals(pairedRatios([10, 2, 12], [5, 1, 4]).median, 2);
  assertThrows(() => pairedRatios([1], [1, 2]), RangeError, "1 and 2");
});

Deno.test("sides take turns, and one that fails is run no more", async () => {
  const order: string[] = [];
  const side = (name: string, run: (turn: number) => Sample): Side => {
    let turn = 0;
    return {
      name,
      run: () => {
        order.push(name);
        return Promise.resolve().then(() => run(turn++));
      },
    };
  };
  const results = await alternate(
    [
      side("a", (turn) => ({ speed: turn })),
      side("b", (turn) => {
        if (turn === 1) throw new Error("out of memory");
        return { speed: 7 };
      }),
    ],
    { runs: 3 },
  );
  assertEquals(order, ["a", "b", "a", "b", "a"]);
  assertEquals(figuresOf(results[0], "speed"), [0, 1, 2]);
  assertEquals(results[1], { samples: null, failure: "out of memory" });
  assertEquals(figuresOf(results[1], "speed"), null);
});

const COMMON = { part: "single", model: "1b bf16", work: "decode", unit: "tok/s" };

Deno.test("targets are judged by the median figure, the median ratio and the share", () => {
  const row = makeRow({
    ...COMMON,
    subject: { name: "weft", samples: [10, 30, 20] },
    baseline: { name: "llama.cpp", samples: [10, 10, 10] },
    roof: { of: "read bandwidth", subject: 25, baseline: 40 },
    targets: [
      { of: "figure", sense: "<=", limit: 19 },
      { of: "ratio", sense: ">=", limit: 2 },
      { of: "share", sense: ">=", limit: 0.85 },
    ],
  });
  assertEquals(row.verdicts.map(({ met }) => met), [false, true, false]);
  assertEquals(row.ratio?.median, 2);
  assertEquals([row.roof?.subjectShare, row.roof?.baselineShare], [0.8, 0.25]);
});

Deno.test("without its peer a row has no ratio and nothing is judged by it", () => {
  const targets = [{ of: "ratio", sense: ">=", limit: 2 } as const];
  const alone = makeRow({ ...COMMON, subject: { name: "weft", samples: [1] }, targets });
  assertEquals([alone.baseline, alone.ratio, alone.verdicts[0].met], [null, null, null]);
  const failed = makeRow({
    ...COMMON,
    subject: { name: "weft", samples: null },
    baseline: { name: "llama.cpp", samples: [1] },
    targets,
  });
  assertEquals([failed.subject.figure, failed.ratio, failed.verdicts[0].met], [null, null, null]);
});

Deno.test("the table shows figures, range, shares and verdicts", () => {
  const rows = [
    makeRow({
      ...COMMON,
      subject: { name: "weft", samples: [123.4] },
      baseline: { name: "llama.cpp", samples: [61.7] },
      roof: { of: "read bandwidth", subject: 246.8, baseline: 1000 },
      targets: [
        { of: "ratio", sense: ">=", limit: 1.4 },
        { of: "share", sense: ">=", limit: 0.85 },
      ],
    }),
    makeRow({
      ...COMMON,
      subject: { name: "weft", samples: null },
      targets: [{ of: "figure", sense: "<=", limit: 1 }],
    }),
  ];
  const disturbed = { ...rows[0], disturbedRuns: 1 };
  const [, , first, second, third] = formatTable([...rows, disturbed]).split("\n");
  assertStringIncludes(third, "**not met** (disturbed) |");
  assertEquals(
    first,
    "| single | 1b bf16 | decode | weft: 123 tok/s | llama.cpp: 61.7 tok/s | " +
      "2.00x (2.00x to 2.00x) | 50 % against 6.2 % of read bandwidth | " +
      ">= 1.40x: met; >= 85 % of the roofline: **not met** |",
  );
  assertStringIncludes(second, "weft: not measured");
  assertStringIncludes(second, "<= 1.00 tok/s: not judged");
});

Deno.test("the caption says machine, versions and command", () => {
  const caption = formatCaption({
    command: ["--runs", "3"],
    date: "2026-11-21T12:00:00.000Z",
    runs: 3,
    threads: 2,
    machine: {
      processor: "Some Processor",
      vectorFlags: ["avx2", "fma"],
      cores: 2,
      memoryBytes: 1,
      kernel: "6.1",
      deno: "2.9.6",
      compiler: "cc 12",
      weft: "abc",
      variables: {},
    },
    peers: [{ name: "llama.cpp", version: "1", origin: "npm" }],
  });
  assertEquals(
    caption,
    "2026-11-21, Some Processor (avx2), 2 cores; 2 threads, random weights, medians of 3 runs in " +
      "turns; weft abc, Deno 2.9.6, cc 12; llama.cpp 1; " +
      "`deno run -A bench/versus/main.ts --runs 3`",
  );
});
