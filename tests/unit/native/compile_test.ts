import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { compileSources } from "../../../src/native/compile.ts";

const COMPILE_MODULE = new URL("../../../src/native/compile.ts", import.meta.url).href;

const PROGRAM = `import { compileSources } from ${JSON.stringify(COMPILE_MODULE)};
console.log(compileSources([{ name: "one.c", text: "int one(void) { return 1; }\\n" }], []));`;

/** Runs `compileSources` of one small file in a process with its own environment. */
function compileInProcess(env: Record<string, string>): { code: number; output: string } {
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM],
    env: { ...env, NO_COLOR: "1" },
  }).outputSync();
  return { code, output: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

function withFolder(run: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "weft-compile-" });
  try {
    run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("compileSources builds once when several processes ask at the same time", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "weft-compile-" });
  try {
    // A compiler that notes each compilation, and takes its time.
    const compiler = `${folder}/cc`;
    Deno.writeTextFileSync(
      compiler,
      `#!/bin/sh\ncase "$*" in *" -c "*) echo >> ${folder}/compilations; sleep 0.3;; esac\nexec gcc "$@"\n`,
      { mode: 0o700 },
    );
    const env = { PATH: `${folder}:${Deno.env.get("PATH")}`, WEFT_CACHE_DIR: `${folder}/cache` };
    const children = [1, 2, 3].map(() =>
      new Deno.Command(Deno.execPath(), { args: ["eval", PROGRAM], env }).output()
    );
    const outputs = (await Promise.all(children)).map(({ stdout }) =>
      new TextDecoder().decode(stdout)
    );
    assert(outputs[0].startsWith(`${folder}/cache/cpu-`), outputs[0]);
    assertEquals(outputs, [outputs[0], outputs[0], outputs[0]]);
    assertEquals(Deno.readTextFileSync(`${folder}/compilations`), "\n");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("compileSources says what to install where there is no compiler", () => {
  withFolder((folder) => {
    const { code, output } = compileInProcess({ PATH: folder, WEFT_CACHE_DIR: `${folder}/cache` });
    assertNotEquals(code, 0);
    assertStringIncludes(output, "no C compiler is on the PATH: looked for cc, gcc, clang");
    assertStringIncludes(output, "apt install gcc libc6-dev");
  });
});

Deno.test("compileSources keeps one private library and no work folder in the cache", () => {
  withFolder((folder) => {
    const cache = `${folder}/cache`;
    const first = compileInProcess({ WEFT_CACHE_DIR: cache });
    assertEquals(first.code, 0, first.output);
    assert(first.output.startsWith(`${cache}/cpu-`), first.output);
    const built = Deno.statSync(first.output.trim()).mtime;
    const second = compileInProcess({ WEFT_CACHE_DIR: cache });
    assertEquals(second, first);
    assertEquals(Deno.statSync(first.output.trim()).mtime, built);
    const names = [...Deno.readDirSync(cache)].map(({ name }) => name);
    assertEquals(names.filter((name) => name !== "lock" && !/^compiler-.*\.txt$/.test(name)), [
      first.output.trim().slice(cache.length + 1),
    ]);
    assertEquals((Deno.statSync(cache).mode ?? 0) & 0o777, 0o700);
  });
});

Deno.test("compileSources takes the cache folder from WEFT_CACHE_DIR, XDG_CACHE_HOME, HOME in turn", () => {
  withFolder((folder) => {
    const env = { XDG_CACHE_HOME: `${folder}/xdg`, HOME: `${folder}/home`, WEFT_CACHE_DIR: "" };
    assertStringIncludes(compileInProcess(env).output, `${folder}/xdg/weft/cpu-`);
    const home = compileInProcess({ ...env, XDG_CACHE_HOME: "" });
    assertStringIncludes(home.output, `${folder}/home/.cache/weft/cpu-`);
    const denoDir = { DENO_DIR: `${folder}/deno` }; // Deno takes it from XDG_CACHE_HOME otherwise.
    const relative = compileInProcess({ ...env, ...denoDir, XDG_CACHE_HOME: "not/absolute" });
    assertEquals(relative, home);
  });
});

Deno.test("compileSources says which folder it cannot write to, and how to choose another", () => {
  withFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    const { code, output } = compileInProcess({ WEFT_CACHE_DIR: `${folder}/file/cache` });
    assertNotEquals(code, 0);
    assertStringIncludes(output, `Cannot write to the cache folder ${folder}/file/cache: `);
    assertStringIncludes(output, "set WEFT_CACHE_DIR to a private folder");
  });
});

Deno.test("compileSources sweeps what a compilation that was killed has left", () => {
  withFolder((folder) => {
    const cache = `${folder}/cache`;
    Deno.mkdirSync(`${cache}/build-killed`, { recursive: true, mode: 0o700 });
    Deno.writeTextFileSync(`${cache}/build-killed/one.c`, "");
    Deno.chmodSync(cache, 0o700);
    assertEquals(compileInProcess({ WEFT_CACHE_DIR: cache }).code, 0);
    assertEquals([...Deno.readDirSync(cache)].filter(({ isDirectory }) => isDirectory), []);
  });
});

Deno.test("compileSources refuses a cache folder that others can write to", () => {
  withFolder((folder) => {
    Deno.chmodSync(folder, 0o777);
    const { code, output } = compileInProcess({ WEFT_CACHE_DIR: folder });
    assertNotEquals(code, 0);
    assertStringIncludes(output, "as other users can write to it");
  });
});

Deno.test("compileSources reports what the compiler said", () => {
  const broken = [{ name: "broken.c", text: "int broken(void) { return undeclared_name; }\n" }];
  const error = assertThrows(() => compileSources(broken, []), Error);
  assertStringIncludes(error.message, "Cannot compile the CPU kernels with");
  assertStringIncludes(error.message, "undeclared_name");
});

Deno.test("compileSources builds another library for other sources and for other flags", () => {
  const source = (value: number) => [
    { name: "value.c", text: `int value(void) { return ${value}; }\n` },
  ];
  const paths = [
    compileSources(source(1), []),
    compileSources(source(2), []),
    compileSources(source(1), ["-march=x86-64"]),
  ];
  assertEquals(new Set(paths).size, 3);
  for (const path of paths) Deno.removeSync(path);
});
