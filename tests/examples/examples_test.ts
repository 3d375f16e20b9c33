/** Runs every example as a user would and checks what it prints. */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

/** What each example must print. */
const CHECKS: Record<string, (lines: string[]) => void> = {
  "all_gather_all_reduce.ts": (lines) => {
    assertEquals(lines.length, 4);
    for (const line of lines) {
      assert(line.endsWith("all-gather [1,1,2,2,3,3,4,4] all-reduce [10,10]"), line);
    }
  },
  "parallel_linear.ts": (lines) => {
    assertEquals(lines, [0, 1, 2, 3].map((rank) => `rank ${rank} equals dense: true`));
  },
  "pipeline_bubble.ts": (lines) => {
    assertEquals(lines.length, 3);
    for (const line of lines) {
      const [, bubble, predicted] = line.match(/bubble ([\d.]+), .* = ([\d.]+)$/)!;
      assertLess(Math.abs(Number(bubble) - Number(predicted)), 0.1, line);
    }
  },
  "hybrid_mesh.ts": (lines) => {
    assertEquals(lines.length, 8);
    assertEquals(lines[5], "rank 5: data 1 pipeline 0 tensor 1, sums: data 6 pipeline 12 tensor 9");
  },
  "hybrid_parallel.ts": (lines) => {
    assertEquals(lines.length, 2);
    assertMatch(lines[0], /-> 45 \+ 16 = 61 \(2x2x2 gives the same bits: true\)$/);
    assertMatch(lines[1], /8.* \(2x2x2 gives the same bits: true\)$/);
  },
  "data_parallel.ts": (lines) => {
    assertEquals(lines, [
      "What is 2 + 3? -> 2 + 3 = 5",
      "What is 9 - 4? -> 9 - 4 = 5",
      "How much is 6 x 7? -> 6 x 7 = 42",
      "Count from 1 to 5. -> 1, 2, 3, 4, 5.",
    ]);
  },
  "generate.ts": (lines) => {
    assertEquals(lines.length, 3);
    for (const line of lines) assert(JSON.parse(line).text.length > 20, line);
  },
};

Deno.test("examples: each is at most 40 lines, and each is checked", () => {
  const files = [...Deno.readDirSync(new URL("examples", ROOT))].map(({ name }) => name).sort();
  assertEquals(files, Object.keys(CHECKS).sort());
  for (const file of files) {
    const text = Deno.readTextFileSync(new URL(`examples/${file}`, ROOT));
    assert(text.trimEnd().split("\n").length <= 40, `${file} is longer than 40 lines`);
  }
});

for (const [file, check] of Object.entries(CHECKS)) {
  Deno.test(`examples: ${file}`, async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", `examples/${file}`],
      cwd: ROOT,
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    check(new TextDecoder().decode(stdout).trimEnd().split("\n"));
  });
}
