/**
 * The one gate of the project (`deno task ok`): format, lint, types, documentation, tests and a
 * trial publication. Its last line is `N passed, N failed`: the tests that passed, and the tests
 * and other checks that failed. It exits with 1 when anything failed or when no test ran.
 * @module
 */
import { readTestCounts } from "./test_counts.ts";

/** A check that is one deno command. */
interface Gate {
  readonly name: string;
  readonly args: readonly string[];
}

const ENTRY_POINTS = ["mod.ts", "src/serving/mod.ts"];
const SOURCES = ["mod.ts", "src", "tests", "examples", "bench", "tools"];

const GATES: readonly Gate[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "types", args: ["check", ...SOURCES] },
  { name: "types of documentation examples", args: ["check", "--doc-only", "src", "README.md"] },
  { name: "documentation", args: ["doc", "--lint", ...ENTRY_POINTS] },
  { name: "publication", args: ["publish", "--dry-run", "--allow-dirty"] },
];

/** Runs deno with its output shown; resolves with the output and whether it succeeded. */
async function deno(args: readonly string[]): Promise<{ success: boolean; output: string }> {
  console.log(`\n$ deno ${args.join(" ")}`);
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    await Deno.stdout.write(new TextEncoder().encode(text));
    output += text;
  }
  return { success: (await child.status).success, output };
}

const failures: string[] = [];
for (const { name, args } of GATES) {
  if (!(await deno(args)).success) failures.push(name);
}

// Types have been checked above: a wrong one should not keep tests from running.
const tests = await deno(["test", "-A", "--no-check", "tests"]);
const counts = readTestCounts(tests.output) ?? { passed: 0, failed: 0, ignored: 0 };
if (counts.passed + counts.failed === 0) failures.push("tests (none ran)");
else if (!tests.success && counts.failed === 0) failures.push("tests (failed outside a test)");

for (const name of failures) console.log(`\nFailed: ${name}`);
const failed = counts.failed + failures.length;
if (counts.ignored > 0) console.log(`\n${counts.ignored} tests were ignored on this machine`);
console.log(`\n${counts.passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
