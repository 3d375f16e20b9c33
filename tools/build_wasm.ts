/**
 * Builds native/wasm/weft.wasm from the C sources: `deno task wasm`. The same sources and compiler give
 * the same bytes; a test compares.
 * @module
 */
import { createHash } from "node:crypto";
import { CPU_SOURCES } from "../src/native/sources.ts";

/** What the shipped module is built with, as the compiler names itself. */
export const WASM_COMPILER = "Debian clang version 14.0.6";

/** The module that is shipped. */
export const WASM_MODULE = new URL("../native/wasm/weft.wasm", import.meta.url);

const WASM_FOLDER = new URL("../native/wasm/", import.meta.url);

/** Sources that need an operating system: files, processes and pages. */
const NATIVE_ONLY: ReadonlySet<string> = new Set([
  "memory_map.c",
  "panel_memory.c",
  "shared_panels.c",
  "shared_region.c",
]);

const COMPILER_FLAGS: readonly string[] = [
  "--target=wasm32",
  "-O3",
  "-std=gnu11",
  "-nostdlibinc",
  "-Iinclude",
  "-I.",
  "-Wall",
  "-Werror=implicit-function-declaration",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fvisibility=default",
  "-msimd128",
  "-matomics",
  "-mbulk-memory",
  "-mmutable-globals",
  "-mnontrapping-fptoint",
  "-msign-ext",
];

// Sixteen pages of stack lie below the data of the module; each thread brings its own besides.
const LINKER_FLAGS: readonly string[] = [
  "--no-entry",
  "--export-dynamic",
  "--export=__stack_pointer",
  "--import-memory",
  "--shared-memory",
  "--initial-memory=2097152",
  "--max-memory=4294967296",
  "--stack-first",
  "-z",
  "stack-size=1048576",
  "--strip-all",
];

/** First line of what clang says of its version; null when there is none. */
export function clangVersion(): string | null {
  try {
    return run("clang", ["--version"]).split("\n")[0];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Compiles and links the module; throws with the compiler's message when it fails. */
export function buildWasm(): Uint8Array<ArrayBuffer> {
  const folder = Deno.makeTempDirSync({ prefix: "weft-wasm-" });
  try {
    const sources = [...sharedSources(), ...ownSources()];
    Deno.mkdirSync(`${folder}/include/sys`, { recursive: true });
    Deno.mkdirSync(`${folder}/include/linux`);
    for (const { name, text } of sources) Deno.writeTextFileSync(`${folder}/${name}`, text);
    const hash = createHash("sha256").update(JSON.stringify([COMPILER_FLAGS, sources]));
    const flags = [...COMPILER_FLAGS, `-DWEFT_KERNEL_HASH="${hash.digest("hex")}"`];
    const files = sources.map(({ name }) => name).filter((name) => name.endsWith(".c"));
    for (const file of files) run("clang", [...flags, "-c", file, "-o", `${file}.o`], folder);
    const objects = files.map((file) => `${file}.o`);
    run("wasm-ld", [...LINKER_FLAGS, ...objects, "-o", "weft.wasm"], folder);
    return Deno.readFileSync(`${folder}/weft.wasm`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function sharedSources(): { name: string; text: string }[] {
  return CPU_SOURCES.filter(({ name }) => !NATIVE_ONLY.has(name)).map(({ name, text }) => ({
    name,
    text,
  }));
}

function ownSources(): { name: string; text: string }[] {
  const names = [".", "include", "include/sys", "include/linux"].flatMap((folder) =>
    [...Deno.readDirSync(new URL(`${folder}/`, WASM_FOLDER))]
      .filter(({ isFile, name }) => isFile && /\.[ch]$/.test(name))
      .map(({ name }) => folder === "." ? name : `${folder}/${name}`)
  );
  return names.sort().map((name) => ({
    name: renamed(name),
    text: Deno.readTextFileSync(new URL(name, WASM_FOLDER)),
  }));
}

/** Sources of this folder may have the names of those that they stand for. */
function renamed(name: string): string {
  return name.endsWith(".c") ? `wasm_${name}` : name;
}

function run(command: string, args: readonly string[], cwd?: string): string {
  const { success, stdout, stderr } = new Deno.Command(command, {
    args: [...args],
    cwd,
    env: { LC_ALL: "C" },
    stdin: "null",
  }).outputSync();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(
    `Cannot build the WebAssembly module: ${command} reported\n${new TextDecoder().decode(stderr)}`,
  );
}

if (import.meta.main) {
  const version = clangVersion();
  if (version !== WASM_COMPILER) {
    throw new Error(
      `Cannot build the WebAssembly module as it needs ${WASM_COMPILER}: found ${
        version ?? "none"
      }`,
    );
  }
  Deno.writeFileSync(WASM_MODULE, buildWasm());
}
