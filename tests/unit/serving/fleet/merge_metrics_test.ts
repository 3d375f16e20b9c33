import { assertEquals } from "@std/assert";
import { mergeMetrics } from "../../../../src/serving/fleet/merge_metrics.ts";

Deno.test("samples of one name stand together, under the engine that they came from", () => {
  const text = (value: number): string =>
    `# HELP a:up One
# TYPE a:up gauge
a:up{model="m",engine="0"} ${value}

# HELP h Time
# TYPE h histogram
h_bucket{le="+Inf"} ${value}
h_sum ${value}
h_count ${value} 1700000000
`;
  assertEquals(
    mergeMetrics([{ engine: "0", text: text(1) }, { engine: "7", text: text(2) }]),
    `# HELP a:up One
# TYPE a:up gauge
a:up{model="m",engine="0"} 1
a:up{model="m",engine="7"} 2

# HELP h Time
# TYPE h histogram
h_bucket{le="+Inf",engine="0"} 1
h_sum{engine="0"} 1
h_count{engine="0"} 1 1700000000
h_bucket{le="+Inf",engine="7"} 2
h_sum{engine="7"} 2
h_count{engine="7"} 2 1700000000
`,
  );
});

Deno.test("a label's value may hold anything", () => {
  const model = 'a\\"b,engine=\\"9\\"}{ c';
  const merged = mergeMetrics([{ engine: "1", text: `up{model="${model}",engine="0"} 5` }]);
  assertEquals(merged, `up{model="${model}",engine="1"} 5\n`);
});

Deno.test("what one engine alone says is told, its kind after the fact too", () => {
  const merged = mergeMetrics([
    { engine: "0", text: "up 0" },
    { engine: "1", text: "# TYPE up gauge\nup 1\n# TYPE other counter\nother 3" },
  ]);
  assertEquals(
    merged,
    '# TYPE up gauge\nup{engine="0"} 0\nup{engine="1"} 1\n\n# TYPE other counter\nother{engine="1"} 3\n',
  );
});
