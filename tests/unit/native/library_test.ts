import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { formatVersion, isAtLeast, type LibraryVersion } from "../../../src/native/library.ts";
import { withFolder } from "../_folder.ts";

const LIBRARY_MODULE = new URL("../../../src/native/library.ts", import.meta.url).href;

/** Opens `libsample`, 1.5 or later, of major version $1 if any, with function $2 if any. */
const PROGRAM = `
import { formatVersion, openLibrary } from ${JSON.stringify(LIBRARY_MODULE)};
const [major, extra] = Deno.args;
const symbols = { sample_version: { parameters: [], result: "i32" } };
const description = {
  name: "sample",
  variable: "WEFT_SAMPLE_PATH",
  sonames: ["libsample.so.2", "libsample.so.1"],
  wheels: ["sample"],
  install: "pip install sample",
  minimum: [1, 5, 0],
  companion: { variable: "WEFT_SAMPLE_CORE_PATH", stem: "libsample-core" },
  versionSymbols: symbols,
  readVersion: ({ sample_version }) => [Math.trunc(sample_version() / 100), sample_version() % 100, 0],
};
try {
  const all = extra ? { ...symbols, [extra]: symbols.sample_version } : symbols;
  const { path, version, close } = openLibrary(description, all, { major: Number(major) || undefined });
  console.log(path, formatVersion(version));
  close();
} catch (error) {
  console.log(error.name, error.message);
}`;

/** Runs the program with nothing but `env` in its environment. */
function open(env: Record<string, string>, ...args: readonly string[]): string {
  const { stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM, ...args],
    clearEnv: true,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", DENO_DIR: "/nowhere", ...env },
  }).outputSync();
  return (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)).trim();
}

/** Builds a shared library that says `version` (203 is 2.3); returns its path. */
function build(path: string, version: number, ...flags: readonly string[]): string {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  const source = `${path}.c`;
  Deno.writeTextFileSync(source, `int sample_version(void) { return ${version}; }\n`);
  const compiler = new Deno.Command("cc", {
    args: ["-shared", "-fPIC", "-o", path, source, "-Wl,--no-as-needed", ...flags],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  });
  const { success, stderr } = compiler.outputSync();
  assert(success, new TextDecoder().decode(stderr));
  return path;
}

const WHEEL = "lib/python3.11/site-packages/nvidia/sample/lib";

Deno.test("a library is looked for in CUDA's folders, then in wheels, and old ones are passed over", () => {
  withFolder((folder) => {
    build(`${folder}/toolkit/lib64/libsample.so.2`, 104);
    const expected = build(`${folder}/environment/${WHEEL}/libsample.so.2`, 203);
    const env = { CUDA_HOME: `${folder}/toolkit`, VIRTUAL_ENV: `${folder}/environment` };
    assertEquals(open(env), `${expected} 2.3`);
    const { VIRTUAL_ENV: _, ...alone } = env;
    assertStringIncludes(
      open(alone),
      `${folder}/toolkit/lib64/libsample.so.2: version 1.4 is older than 1.5\n`,
    );
  });
});

Deno.test("wheels are found beside every python3 on the PATH, through links, and in the user's folder", () => {
  withFolder((folder) => {
    const python = `${folder}/python`;
    const expected = build(`${python}/${WHEEL}/libsample.so.1`, 107);
    Deno.mkdirSync(`${python}/bin`);
    Deno.writeTextFileSync(`${python}/bin/python3.11`, "");
    Deno.symlinkSync("python3.11", `${python}/bin/python3`);
    assertEquals(open({ PATH: `/nowhere:relative:${python}/bin` }), `${expected} 1.7`);
    Deno.mkdirSync(`${folder}/links`);
    Deno.symlinkSync(`${python}/bin/python3`, `${folder}/links/python3`);
    assertEquals(open({ PATH: `${folder}/links` }), `${expected} 1.7`);
    Deno.mkdirSync(`${folder}/home`);
    Deno.renameSync(python, `${folder}/home/.local`);
    assertEquals(
      open({ HOME: `${folder}/home` }),
      `${folder}/home/.local/${WHEEL}/libsample.so.1 1.7`,
    );
  });
});

Deno.test("what the loader finds comes first, and the file behind it is reported", () => {
  withFolder((folder) => {
    const expected = build(`${folder}/loader/libsample.so.2.9.1`, 209);
    Deno.symlinkSync("libsample.so.2.9.1", `${folder}/loader/libsample.so.2`);
    build(`${folder}/toolkit/lib64/libsample.so.2`, 203);
    const env = { LD_LIBRARY_PATH: `${folder}/loader`, CUDA_PATH: `${folder}/toolkit` };
    assertEquals(open(env), `${Deno.realPathSync(expected)} 2.9`);
  });
});

Deno.test("an override is the only path that is tried", () => {
  withFolder((folder) => {
    build(`${folder}/environment/${WHEEL}/libsample.so.2`, 203);
    const other = build(`${folder}/another name`, 301);
    const env = { VIRTUAL_ENV: `${folder}/environment` };
    assertEquals(open({ ...env, WEFT_SAMPLE_PATH: other }), `${other} 3.1`);
    assertEquals(
      open({ ...env, WEFT_SAMPLE_PATH: `${folder}/none` }),
      "LibraryError Cannot open sample as version 1.5 or later was not found: tried\n" +
        `  ${folder}/none: no such file\n` +
        "Install it with `pip install sample`, or set WEFT_SAMPLE_PATH to the path of the library",
    );
    assertStringIncludes(open({ ...env, WEFT_SAMPLE_PATH: folder }), `  ${folder}: not a file\n`);
  });
});

Deno.test("a library that lacks a function or is no library is passed over, with the reason", () => {
  withFolder((folder) => {
    const path = build(`${folder}/toolkit/lib/libsample.so.2`, 203);
    Deno.writeTextFileSync(
      `${folder}/toolkit/lib/libsample.so.1`,
      "not a library, but long enough".repeat(9),
    );
    const error = open({ CUDA_HOME: `${folder}/toolkit` }, "", "sample_absent");
    assert(error.includes(`  ${path}: `) && error.includes("sample_absent"), error);
    assertStringIncludes(error, "invalid ELF header");
    assertStringIncludes(error, "  libsample.so.2: cannot open shared object file");
  });
});

Deno.test("a major version can be asked for", () => {
  withFolder((folder) => {
    build(`${folder}/toolkit/lib64/libsample.so.2`, 203);
    const expected = build(`${folder}/toolkit/lib64/libsample.so.1`, 107);
    assertEquals(open({ CUDA_HOME: `${folder}/toolkit` }, "1"), `${expected} 1.7`);
  });
});

Deno.test("a companion that lies beside the library is opened first", () => {
  withFolder((folder) => {
    const lib = `${folder}/toolkit/lib64`;
    const core = build(`${lib}/libsample-core.so.2.0`, 203, "-Wl,-soname,libsample-core.so.2.0");
    // Needs the companion by its name, which the loader does not find by itself.
    const expected = build(`${lib}/libsample.so.2`, 203, core);
    const env = { CUDA_HOME: `${folder}/toolkit` };
    assertEquals(open(env), `${expected} 2.3`);
    Deno.renameSync(core, `${folder}/moved`);
    assertStringIncludes(open(env), "libsample-core.so.2.0: cannot open shared object file");
    assertEquals(
      open({ ...env, WEFT_SAMPLE_CORE_PATH: `${folder}/moved` }),
      `${expected} 2.3`,
    );
  });
});

Deno.test("versions are compared part by part", () => {
  const minimum: LibraryVersion = [12, 9, 1];
  const enough: LibraryVersion[] = [[12, 9, 1], [12, 9, 2], [12, 10, 0], [13, 0, 0]];
  const tooOld: LibraryVersion[] = [[12, 9, 0], [12, 8, 9], [11, 10, 5]];
  for (const version of enough) assert(isAtLeast(version, minimum), formatVersion(version));
  for (const version of tooOld) assert(!isAtLeast(version, minimum), formatVersion(version));
  assertEquals([formatVersion([13, 0, 0]), formatVersion([2, 30, 7])], ["13.0", "2.30.7"]);
});
