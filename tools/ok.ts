/**
 * The one gate of the project (`deno task ok`): format, lint, types, documentation, tests and a
 * trial publication. Its last line is `N passed, N failed`: the tests that passed, and the tests
 * and other checks that failed. It exits with 1 when anything failed or when no test ran.
 * @module
 */
import { readTestCounts } from "./test_counts.ts";
import { FileOutputStream, groupTests } from "./test_groups.ts";

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

/**
 * Runs deno with its output shown, in the pieces that `cut` makes of it; resolves with the output and
 * whether it succeeded.
 */
async function deno(
  args: readonly string[],
  cut: ReadableWritablePair<string, string> = new TransformStream(),
): Promise<{ success: boolean; output: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(cut)) {
    writeSync(text);
    output += text;
  }
  return { success: (await child.status).success, output };
}

/** Writes to the standard output in one go, whatever else is about to be written there. */
function writeSync(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) {
    written += Deno.stdout.writeSync(bytes.subarray(written));
  }
}

/** Paths of all files below `folder`. */
function* walk(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* walk(`${folder}/${name}`);
    else yield `${folder}/${name}`;
  }
}

const failures: string[] = [];
for (const { name, args } of GATES) {
  console.log(`\n$ deno ${args.join(" ")}`);
  if (!(await deno(args)).success) failures.push(name);
}

let passed = 0, failed = 0, ignored = 0;
const groups = groupTests(walk("tests"));
if (groups.length === 0) failures.push("tests (there are none)");

/** Runs groups as long as there are some that nobody has begun. */
async function runGroups(): Promise<void> {
  for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
    console.log(`\n$ deno test -A ${group.name}: ${group.paths.length} files`);
    // Types have been checked above: a wrong one should not keep tests from running.
    const args = ["test", "-A", "--no-check", ...group.paths];
    const tests = await deno(args, new FileOutputStream());
    const counts = readTestCounts(tests.output) ?? { passed: 0, failed: 0, ignored: 0 };
    passed += counts.passed;
    failed += counts.failed;
    ignored += counts.ignored;
    if (counts.passed + counts.failed === 0) failures.push(`${group.name} (no test ran)`);
    else if (!tests.success && counts.failed === 0) {
      failures.push(`${group.name} (failed outside a test)`);
    }
  }
}

// A process of tests keeps little more than one core busy: ranks wait for each other.
await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, runGroups));

for (const name of failures) console.log(`\nFailed: ${name}`);
failed += failures.length;
if (ignored > 0) console.log(`\n${ignored} tests were ignored on this machine`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
