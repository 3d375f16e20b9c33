import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { runCli } from "../../run_cli.ts";
import { withoutCudart } from "../_without_cudart.ts";

const run = (...args: string[]) => runCli(args);

Deno.test("help lists every command, and each command has its own", async () => {
  const { status, out } = await run("--help");
  assertEquals(status, 0);
  const names = [...out.matchAll(/^ {2}([a-z][a-z -]*?) {2,}/gm)].map((match) => match[1]);
  assertEquals(names, [
    ...[
      "serve",
      "route",
      "update",
      "run-batch",
      "generate",
      "bench throughput",
      "inspect",
      "quantize",
      "init-model",
    ],
  ]);
  for (const name of names) {
    const help = await run(...name.split(" "), "--help");
    assertEquals([help.status, help.log], [0, ""], name);
    assertStringIncludes(help.out, `Usage: weft ${name}`);
    assertMatch(help.out, /--(seed|threads|port|min-requests) N/);
  }
  assertStringIncludes((await run("bench", "--help")).out, "Usage: weft bench throughput");
  assertStringIncludes((await run("help", "serve")).out, "Usage: weft serve");
});

Deno.test("an error is one line that says each thing once", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { status, log } = await run("generate", "--prompt", "x", "--model", folder);
    assertEquals(status, 1);
    assertEquals(log.match(/No such file/g)?.length, 1);
    // A machine without compiled kernels says that it compiles them, which is no error.
    const lines = log.trimEnd().split("\n").filter((line) => !line.includes(" INFO "));
    assertEquals(lines.length, 1, log);
  } finally {
    await Deno.remove(folder);
  }
});

Deno.test("help shows default and meaning of a flag", async () => {
  const { out } = await run("serve", "--help");
  assertMatch(out, /--port N +Port to listen on.*\(default: 8000\)/);
  assertMatch(out, /WEFT_MAX_MODEL_LEN/);
});

Deno.test("no command shows the help as an error, and the version is one line", async () => {
  assertEquals((await run()).status, 2);
  assertMatch((await run("--version")).out, /^weft \d+\.\d+\.\d+\n$/);
});

Deno.test("a wrong command or flag is one line with a suggestion, and status 2", async () => {
  const command = await run("serv");
  assertEquals([command.status, command.out], [2, ""]);
  assertMatch(command.log, /ERROR Unknown command serv: did you mean serve\n$/);
  const flag = await run("generate", "--promt", "a");
  assertEquals(flag.status, 2);
  assertMatch(flag.log, /ERROR Unknown flag --promt: did you mean --prompt\n$/);
});

Deno.test("what fails before anything is loaded is one line, and status 1 or 2", async () => {
  const noPrompt = await run("generate");
  assertEquals(noPrompt.status, 2);
  assertMatch(noPrompt.log, /no prompt was given/);
  const noFolder = await run("generate", "--prompt", "a", "--model", "no/such/folder");
  assertEquals([noFolder.status, noFolder.out], [1, ""]);
  assertMatch(noFolder.log, /^\S+ ERROR Cannot find the model folder: no\/such\/folder\n$/);
  const asText = await run("generate", "--prompt", "a", "--logprobs", "3");
  assertMatch(asText.log, /add --json/);
  const ids = await run("generate", "--prompt-ids", "1,x");
  assertMatch(ids.log, /--prompt-ids.*current value is 1,x/);
});

Deno.test("init-model writes a checkpoint, once", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const args = ["init-model", "--preset", "tiny", "--seed", "3", "--out", `${folder}/tiny`];
    const first = await run(...args);
    assertEquals(first.status, 0, first.log);
    assertMatch(first.out, /tiny: \d+ parameters, \d+ bytes in model\.safetensors/);
    assert((await Deno.stat(`${folder}/tiny/config.json`)).isFile);
    const second = await run(...args);
    assertEquals(second.status, 1);
    assertMatch(second.log, /holds one already/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assertMatch((await run("init-model", "--preset", "tiny")).log, /give --out/);
  assertMatch((await run("init-model", "--out", "x")).log, /one of --preset and --config/);
  assertMatch((await run("init-model", "--out", "x", "--preset", "y")).log, /smollm-135m/);
});

Deno.test("advice in generation_config.json that is not followed is logged", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await run("init-model", "--preset", "tiny", "--seed", "1", "--out", folder);
    const advice = { no_repeat_ngram_size: 3, top_k: 5 };
    await Deno.writeTextFile(`${folder}/generation_config.json`, JSON.stringify(advice));
    const args = ["--prompt-ids", "1", "--max-tokens", "1", "--num-kv-blocks", "4"];
    const { status, log } = await run("generate", "--model", folder, ...args);
    assertEquals(status, 0, log);
    assertMatch(log, / WARN {2}not followed in generation_config\.json: no_repeat_ngram_size=3$/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("inspect describes a model in a layout, and the machine", async () => {
  const folder = decodeURIComponent(new URL("../../../models/demo", import.meta.url).pathname);
  const layout = ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"];
  const { status, out } = await run("inspect", "--json", "--model", folder, ...layout);
  assertEquals(status, 0);
  const { machine, model } = JSON.parse(out);
  assertEquals(machine.platform, "linux x86_64");
  assertEquals([model.parameters, model.architecture], [3672320, "LlamaForCausalLM"]);
  assertEquals(model.bytes_by_dtype, { BF16: 7344640 });
  assertEquals(model.ranks.length, 4);
  assertMatch(model.communicator, /^shared-memory: /);
  assertEquals(model.ranks[3].layers, [2, 3]);
  assertEquals(model.pipeline_cut, "2 + 2 layers, by cost");
  const three = await run("inspect", "--json", "--model", folder, "--data-parallel-size", "3");
  const replicas = JSON.parse(three.out).model;
  const [{ weight_bytes, buffer_bytes, kv_cache_bytes }] = replicas.ranks;
  assertEquals(replicas.bytes_of_replicas, weight_bytes + 3 * (buffer_bytes + kv_cache_bytes));
  // A text form of the same.
  assertMatch((await run("inspect", "--model", folder)).out, /^ {2}parameters: 3672320$/m);
});

Deno.test("inspect without a model describes the machine, with reasons for what is not there", async () => {
  using _ = withoutCudart();
  const { status, out } = await run("inspect", "--json", "--device", "cuda");
  assertEquals(status, 0);
  const { machine, model } = JSON.parse(out);
  assertEquals(model, null);
  assertMatch(machine.device, /^Cannot open cudart/);
  assert(machine.cores >= 1 && machine.free_memory_bytes > 0);
});

Deno.test("without a GPU auto takes the CPU and says why, and cuda is refused", async () => {
  using _ = withoutCudart();
  const { machine } = JSON.parse((await run("inspect", "--json")).out);
  assertMatch(machine.backend, /^cpu: auto finds no GPU to use: Cannot open cudart/);
  const prompt = ["generate", "--prompt-ids", "1,2", "--max-tokens", "1"];
  const auto = await run(...prompt);
  assertEquals(auto.status, 0);
  assertMatch(auto.log, /deviceChoice: auto finds no GPU to use: Cannot open cudart/);
  const cuda = await run(...prompt, "--device", "cuda");
  assertEquals(cuda.status, 1);
  assertMatch(cuda.log, /ERROR Cannot open cudart .* tried .*no such file/);
});

Deno.test("inspect refuses a layout that the model does not allow", async () => {
  const folder = decodeURIComponent(new URL("../../../models/demo", import.meta.url).pathname);
  const { status, log } = await run("inspect", "--model", folder, "--tensor-parallel-size", "3");
  assertEquals(status, 1);
  assertMatch(log, /ERROR Cannot shard attention .* sizes that work: 1, 2, 4, 8/);
});

Deno.test("serve names the address that it cannot have, before it loads anything", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { status, out, log } = await run("serve", "--port", String(taken.addr.port));
  assertEquals([status, out], [1, ""]);
  assertMatch(log, /^\S+ ERROR Cannot listen on 127\.0\.0\.1 port \d+: Address already in use/);
});

Deno.test("quantize asks for what it needs, and refuses what it has no use for", async () => {
  const needs = await run("quantize", "--model", "models/demo", "--method", "int8");
  assertEquals(needs.status, 2);
  assertStringIncludes(needs.log, "give --model, --method and --out");
  const all = ["quantize", "--model", "models/demo", "--out", "unused", "--method", "int8"];
  const groups = await run(...all, "--group-size", "32");
  assertEquals(groups.status, 2);
  assertStringIncludes(groups.log, "one scale an output");
  const unread = await run(...all, "--calibration", "no/such/file");
  assertEquals(unread.status, 2);
  assertStringIncludes(unread.log, "no/such/file");
});

Deno.test("with --log-format json whatever goes to stderr is an object a line, the last error too", async () => {
  const { status, log } = await run("serve", "--log-format=json", "--port=0", "--model=nowhere");
  assertEquals(status, 1);
  const events = log.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(events.at(-1).level, "error");
  assertMatch(events.at(-1).message, /nowhere/);
});
