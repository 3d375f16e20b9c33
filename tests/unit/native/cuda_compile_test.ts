import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cudaProgram } from "../../../src/native/cuda_compile.ts";
import { CUDA_SOURCES } from "../../../src/native/cuda_sources.ts";

const MODULE = new URL("../../../src/native/cuda_compile.ts", import.meta.url).href;

/**
 * Compiles a kernel of value $3 for architecture $2 with a compiler whose file is $1 and whose machine
 * code says what was compiled; prints the machine code and how often the compiler ran.
 */
const PROGRAM = `
import { compileCudaKernels } from ${JSON.stringify(MODULE)};
const [path, architecture, value] = Deno.args;
let runs = 0;
const nvrtc = {
  path,
  version: [13, 0, 0],
  compile(program) {
    runs++;
    return { cubin: new TextEncoder().encode(JSON.stringify(program)), log: "" };
  },
};
const sources = [{ name: "one.cu", text: value }];
const { cubin } = compileCudaKernels({ nvrtc, architecture: Number(architecture), sources });
console.log(new TextDecoder().decode(cubin), runs);`;

function compile(folder: string, architecture: string, value: string): Promise<string> {
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM, `${folder}/compiler`, architecture, value],
    env: { NO_COLOR: "1", WEFT_CACHE_DIR: `${folder}/cache` },
  }).output().then(({ stdout, stderr }) =>
    (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)).trim()
  );
}

async function withCompiler(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/compiler`, "1");
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function cachedFiles(folder: string): string[] {
  return [...Deno.readDirSync(`${folder}/cache`)].map(({ name }) => name)
    .filter((name) => name !== "lock").sort();
}

Deno.test("kernels are compiled once for each architecture, source and compiler", async () => {
  await withCompiler(async (folder) => {
    const first = await compile(folder, "90", "a");
    assert(first.endsWith(" 1"), first);
    assertStringIncludes(first, "--gpu-architecture=sm_90");
    assertEquals(await compile(folder, "90", "a"), first.replace(/1$/, "0"));
    assertEquals(cachedFiles(folder).length, 1);
    assert((await compile(folder, "80", "a")).endsWith(" 1"));
    assert((await compile(folder, "90", "b")).endsWith(" 1"));
    Deno.writeTextFileSync(`${folder}/compiler`, "another");
    assert((await compile(folder, "90", "a")).endsWith(" 1"));
    assertEquals(cachedFiles(folder).length, 4);
  });
});

Deno.test("processes that start together compile once", async () => {
  await withCompiler(async (folder) => {
    const outputs = await Promise.all([1, 2, 3].map(() => compile(folder, "90", "a")));
    assertEquals(outputs.map((output) => output.at(-1)).sort(), ["0", "0", "1"]);
  });
});

Deno.test("machine code that is damaged on the disk is compiled again", async () => {
  await withCompiler(async (folder) => {
    const expected = await compile(folder, "90", "a");
    const [name] = cachedFiles(folder);
    const path = `${folder}/cache/${name}`;
    const whole = Deno.readFileSync(path);
    const flipped = whole.with(whole.length - 1, whole[whole.length - 1] ^ 1);
    for (const damaged of [whole.subarray(0, -1), flipped, new Uint8Array(0)]) {
      Deno.writeFileSync(path, damaged);
      assertEquals(await compile(folder, "90", "a"), expected);
      assertEquals(Deno.readFileSync(path), whole);
    }
  });
});

Deno.test("the program includes every .cu file, and its headers travel along", () => {
  const sources = [
    { name: "a.cu", text: "" },
    { name: "a.cuh", text: "" },
    { name: "b.cu", text: "" },
  ];
  const { source, headers, options } = cudaProgram({ architecture: 100, sources });
  assertEquals(source, '#include "a.cu"\n#include "b.cu"\n');
  assertEquals(headers, sources);
  assertEquals(options[0], "--gpu-architecture=sm_100");
  assert(!options.some((option) => option.includes("fast-math")));
});

Deno.test("every file of native/cuda is a source", () => {
  const folder = new URL("../../../native/cuda/", import.meta.url);
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  assertEquals(CUDA_SOURCES.map(({ name }) => name), names);
  for (const { name, text } of CUDA_SOURCES) {
    assert(text === Deno.readTextFileSync(new URL(name, folder)), name);
  }
});
