import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  ENGINE_FLAGS,
  type FlagTable,
  GENERATE_FLAGS,
  SERVE_FLAGS,
} from "../../../src/cli/flags.ts";
import {
  environmentName,
  nearestWord,
  parseFlags,
  UsageError,
} from "../../../src/cli/parse_flags.ts";

function parse<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
) {
  return parseFlags(args, { table, env: (name) => environment[name] });
}

function refusal(table: FlagTable, args: readonly string[], environment?: Record<string, string>) {
  return assertThrows(() => parse(table, args, environment), UsageError).message;
}

Deno.test("a flag wins over the environment, which wins over the default", () => {
  const environment = { WEFT_PORT: "9000", WEFT_HOST: "0.0.0.0" };
  assertEquals(parse(SERVE_FLAGS, []).values.port, 8000);
  assertEquals(parse(SERVE_FLAGS, [], environment).values.port, 9000);
  const { values } = parse(SERVE_FLAGS, ["--port", "0"], environment);
  assertEquals([values.port, values.host], [0, "0.0.0.0"]);
});

Deno.test("an empty environment variable is no value", () => {
  assertEquals(parse(SERVE_FLAGS, [], { WEFT_PORT: "" }).values.port, 8000);
});

Deno.test("values may follow an equals sign and begin with a dash", () => {
  const args = ["--logprobs", "-1", "--prompt=--json", "--prompt", "-5 + 3 = ", "--top-k=4"];
  const { values, given } = parse(GENERATE_FLAGS, args);
  assertEquals([values.logprobs, values["top-k"], values.json], [-1, 4, false]);
  assertEquals(given.filter(({ name }) => name === "prompt").map(({ value }) => value), [
    "--json",
    "-5 + 3 = ",
  ]);
});

Deno.test("prompts keep the order in which texts and ids were given", () => {
  const args = ["--prompt", "a", "--json", "--prompt-ids", "1,2", "--prompt", "b"];
  const { given } = parse(GENERATE_FLAGS, args);
  assertEquals(given.map(({ name }) => name), ["prompt", "json", "prompt-ids", "prompt"]);
});

Deno.test("--no-NAME turns off what is on by default, and nothing else", () => {
  const read = (args: string[], env?: Record<string, string>) =>
    parse(ENGINE_FLAGS, args, env).values["enable-prefix-caching"];
  const environment = { WEFT_ENABLE_PREFIX_CACHING: "false" };
  assertEquals([read([]), read(["--no-enable-prefix-caching"])], [true, false]);
  assertEquals(read([], environment), false);
  assertEquals(read(["--enable-prefix-caching"], environment), true);
  assertEquals(read(["--enable-prefix-caching=false"]), false);
  assertStringIncludes(
    refusal(ENGINE_FLAGS, ["--enable-prefix-caching", "--no-enable-prefix-caching"]),
    "twice",
  );
  assertStringIncludes(
    refusal(ENGINE_FLAGS, ["--no-enable-prefix-caching=true"]),
    "it takes no value: true",
  );
  assertStringIncludes(refusal(ENGINE_FLAGS, ["--no-enforce-eager"]), "Unknown flag");
});

Deno.test("every spelling of a data type becomes one", () => {
  const spelled = ["f32", "float32", "bfloat16", "half", "float16", "auto"];
  const read = spelled.map((word) => parse(ENGINE_FLAGS, ["--dtype", word]).values.dtype);
  assertEquals(read, ["f32", "f32", "bf16", "f16", "f16", "auto"]);
});

Deno.test("an unknown flag is refused with the nearest one", () => {
  assertEquals(
    refusal(SERVE_FLAGS, ["--tensor-paralel-size", "2"]),
    "Unknown flag --tensor-paralel-size: did you mean --tensor-parallel-size",
  );
  assertEquals(refusal(SERVE_FLAGS, ["--quantum-flux"]), "Unknown flag --quantum-flux");
  assertStringIncludes(refusal(SERVE_FLAGS, ["--constructor", "1"]), "Unknown flag");
  assertStringIncludes(refusal(SERVE_FLAGS, ["-p", "1"]), "Unknown flag -p");
});

Deno.test("a bad value names the flag, or the variable, that held it", () => {
  assertEquals(
    refusal(SERVE_FLAGS, ["--port", "70000"]),
    "Cannot read --port as it must lie between 0 and 65535: current value is 70000",
  );
  assertStringIncludes(refusal(SERVE_FLAGS, ["--dtype", "int3"]), "--dtype");
  assertStringIncludes(refusal(SERVE_FLAGS, [], { WEFT_THREADS: "many" }), "WEFT_THREADS");
  assertStringIncludes(refusal(SERVE_FLAGS, ["--kv-cache-memory", "4 GiBs"]), "--kv-cache-memory");
});

Deno.test("a missing value, a lone argument and a repeated flag are refused", () => {
  assertStringIncludes(refusal(SERVE_FLAGS, ["--model"]), "its value is missing");
  assertStringIncludes(refusal(SERVE_FLAGS, ["--model", "--port", "1"]), "its value is missing");
  assertStringIncludes(refusal(SERVE_FLAGS, ["--model="]), "it is empty");
  assertEquals(refusal(SERVE_FLAGS, ["folder"]), "Unexpected argument: folder");
  assertEquals(refusal(SERVE_FLAGS, ["--port", "1", "--port", "2"]), "Cannot give --port twice");
});

Deno.test("a switch takes no value from the next word", () => {
  assertEquals(refusal(GENERATE_FLAGS, ["--json", "true"]), "Unexpected argument: true");
  assertEquals(parse(GENERATE_FLAGS, [], { WEFT_IGNORE_EOS: "1" }).values["ignore-eos"], true);
});

Deno.test("flags that may be repeated have no environment variable", () => {
  const { values } = parse(GENERATE_FLAGS, [], { WEFT_PROMPT: "from outside" });
  assertEquals(values.prompt, undefined);
});

Deno.test("environmentName spells a flag as a variable", () => {
  assertEquals(environmentName("max-num-batched-tokens"), "WEFT_MAX_NUM_BATCHED_TOKENS");
});

Deno.test("nearestWord finds a near word and only a near one", () => {
  assertEquals(nearestWord("sevre", ["serve", "inspect"]), "serve");
  assertEquals(nearestWord("zzzzz", ["serve", "inspect"]), null);
});
