import { assertEquals, assertThrows } from "@std/assert";
import { type KeyFlagValues, type KeyOptions, readKeys } from "../../../src/cli/api_keys.ts";
import { createLogger } from "../../../src/cli/log.ts";
import { ROUTE_FLAGS } from "../../../src/cli/flags.ts";
import { parseFlags, UsageError } from "../../../src/cli/parse_flags.ts";

/** What keys make of a command line, and what is logged. */
function keysOf(
  args: readonly string[],
  environment: Record<string, string> = {},
): { options: KeyOptions; warnings: string[] } {
  const table = ROUTE_FLAGS;
  const values: KeyFlagValues =
    parseFlags(args, { table, env: (name) => environment[name] }).values;
  const warnings: string[] = [];
  return { options: readKeys(values, createLogger((line) => warnings.push(line))), warnings };
}

Deno.test("keys come from flags, a file and the environment, each once", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, "# tenants\nfirst\n\n  second  \r\n#third\nfourth");
    const { options } = keysOf(["--api-key=zero", "--api-key", "first", `--api-key-file=${file}`]);
    assertEquals(options.apiKey, ["zero", "first", "second", "fourth"]);
    assertEquals(keysOf([], { WEFT_API_KEY: "own" }).options.apiKey, ["own"]);
    assertEquals(keysOf(["--api-key=a"], { WEFT_API_KEY: "own" }).options.apiKey, ["a"]);
    Deno.writeTextFileSync(file, "# nobody\n");
    assertThrows(() => keysOf([`--api-key-file=${file}`]), UsageError, "it holds no key");
  } finally {
    Deno.removeSync(file);
  }
  assertThrows(() => keysOf([`--api-key-file=${file}`]), UsageError, "Cannot read --api-key-file");
  assertThrows(() => keysOf(["--api-key=two words"]), UsageError, "printable ASCII");
});

Deno.test("limits need keys to hold to", () => {
  const limits = ["--key-concurrency=2", "--key-requests-per-minute=60"];
  assertThrows(() => keysOf(limits), UsageError, "there is none: --api-key KEY");
  assertEquals(keysOf([...limits, "--api-key=a"]).options.keyLimits, {
    maxConcurrency: 2,
    requestsPerMinute: 60,
  });
});

Deno.test("admin routes that a network, or every key, reaches are warned of", () => {
  const warns = (host: string, ...more: string[]): boolean =>
    keysOf([`--host=${host}`, ...more]).warnings
      .some((line) => line.includes(`reaches ${host}: --admin-api-key`));
  const inside = ["127.0.0.1", "127.1.2.3", "::1", "localhost"];
  const outside = ["0.0.0.0", "::", "10.0.0.7", "localhost.example"];
  assertEquals(inside.map((host) => warns(host)), [false, false, false, false]);
  assertEquals(outside.map((host) => warns(host)), [true, true, true, true]);
  for (const flag of ["--api-key=key", "--admin-api-key=key"]) {
    assertEquals(outside.map((host) => warns(host, flag)), [false, false, false, false]);
  }
  const two = ["--api-key=a", "--api-key=b"];
  assertEquals(keysOf(two).warnings.map((line) => /every one of the 2 API keys/.test(line)), [
    true,
  ]);
  assertEquals(keysOf([...two, "--admin-api-key=c"]).warnings, []);
});
