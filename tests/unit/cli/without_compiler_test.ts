import { assertEquals, assertStringIncludes } from "@std/assert";

const MAIN = new URL("../../../mod.ts", import.meta.url).pathname;
const MODEL = new URL("../../../models/demo", import.meta.url).pathname;

/** Runs the command line where no program is on the PATH. */
async function weft(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  using _cache = { [Symbol.dispose]: () => Deno.removeSync(cache, { recursive: true }) };
  const cache = Deno.makeTempDirSync();
  const { HOME = "", DENO_DIR = "" } = Deno.env.toObject();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, ...args],
    clearEnv: true,
    env: {
      HOME,
      ...DENO_DIR && { DENO_DIR },
      PATH: "",
      NO_COLOR: "1",
      WEFT_CACHE_DIR: cache,
      ...env,
    },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("without a C compiler a model is served through WebAssembly, and said to be", async () => {
  const prompt = [
    "--prompt",
    "What is 2 + 3?",
    "--temperature",
    "0",
    "--max-tokens",
    "9",
    "--ignore-eos",
  ];
  const { code, stdout, stderr } = await weft(
    ["generate", "--model", MODEL, "--device", "cpu", "--tensor-parallel-size", "2", ...prompt],
  );
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "2 + 3 = 5");
  assertStringIncludes(stderr, "WebAssembly is used");
  assertStringIncludes(stderr, "no C compiler is on the PATH");
});

Deno.test("without a C compiler the machine's report names WebAssembly", async () => {
  const { stdout } = await weft(["inspect", "--json", "--device", "cpu"]);
  const { machine } = JSON.parse(stdout);
  assertStringIncludes(machine.backend, "wasm: asked for; WebAssembly is used");
  assertEquals(machine.instruction_set, "wasm-simd128+fma");
});

Deno.test("an instruction set that was named is not replaced by WebAssembly", async () => {
  const { code, stderr } = await weft(
    ["generate", "--model", MODEL, "--device", "cpu", "--prompt", "x"],
    { WEFT_CPU_ISA: "portable" },
  );
  assertEquals(code === 0, false);
  assertStringIncludes(stderr, "no C compiler is on the PATH");
});

Deno.test("ranks that compute through WebAssembly cannot be processes", async () => {
  const { code, stderr } = await weft(
    ["generate", "--model", MODEL, "--device", "wasm", "--launcher", "process", "--prompt", "x"],
  );
  assertEquals(code === 0, false);
  assertStringIncludes(stderr, "use launcher thread");
});
