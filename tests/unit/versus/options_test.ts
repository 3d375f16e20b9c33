import { assertEquals, assertThrows } from "@std/assert";
import { optionsHelp, readOptions } from "../../../bench/versus/options.ts";
import { casesOf, PART_NAMES, selectCases } from "../../../bench/versus/part.ts";
import { UsageError } from "../../../src/cli/parse_flags.ts";

Deno.test("without flags everything is measured", () => {
  const options = readOptions([])!;
  assertEquals(options.parts, PART_NAMES);
  assertEquals(options.shapes, ["135m", "1b"]);
  assertEquals([options.formats, options.runs, options.threads], [null, 5, 2]);
  assertEquals([options.peerFolders.size, options.without.size], [0, 0]);
});

Deno.test("lists are read in the table's order, each word once", () => {
  const options = readOptions([
    "--parts=http, single,http",
    "--shapes",
    "1b",
    "--formats",
    "int8,f32",
    "--peer",
    "llama.cpp=/opt/a=b",
    "--without",
    "llama.cpp",
  ])!;
  assertEquals(options.parts, ["single", "http"]);
  assertEquals(options.shapes, ["1b"]);
  assertEquals(options.formats, ["f32", "int8"]);
  assertEquals(options.peerFolders.get("llama.cpp"), "/opt/a=b");
  assertEquals([...options.without], ["llama.cpp"]);
});

Deno.test("wrong command lines are refused by name", () => {
  const refused = [
    ["--parts", "single,speed"],
    ["--shapes", ""],
    ["--formats", "int3"],
    ["--peer", "llama.cpp"],
    ["--peer", "vllm=/opt"],
    ["--runs", "0"],
    ["--rounds", "2"],
  ];
  for (const args of refused) assertThrows(() => readOptions(args), UsageError, args[0].slice(2));
});

Deno.test("help names every flag", () => {
  assertEquals(readOptions(["--help"]), null);
  for (const flag of ["parts", "shapes", "formats", "runs", "threads", "peer", "without", "out"]) {
    assertEquals(optionsHelp().includes(`--${flag} `), true, flag);
  }
});

Deno.test("a part takes its own formats unless others are named", () => {
  const cases = casesOf(["135m", "1b"], ["bf16", "int8"]);
  assertEquals(selectCases(cases, { shapes: ["1b"], formats: null }), [
    { shape: "1b", format: "bf16" },
    { shape: "1b", format: "int8" },
  ]);
  assertEquals(selectCases(cases, { shapes: ["135m", "1b"], formats: ["int4"] }), [
    { shape: "135m", format: "int4" },
    { shape: "1b", format: "int4" },
  ]);
  const small = casesOf(["135m"], ["int8"]);
  assertEquals(selectCases(small, { shapes: ["1b"], formats: ["int8"] }), []);
});
