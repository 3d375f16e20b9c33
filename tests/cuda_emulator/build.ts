/**
 * Builds the CUDA emulator with g++, once per machine, into weft's cache folder.
 * @module
 */
import { createHash } from "node:crypto";
import { cacheFolder } from "../../src/native/cache.ts";

/** Where each of the libraries comes from; the first one is what the others are linked with. */
const LIBRARIES = [
  {
    file: "libweft_cuda_emulator.so",
    variable: "WEFT_CUDART_PATH",
    folders: ["core", "cudart"],
  },
  { file: "libweft_emulated_cublaslt.so", variable: "WEFT_CUBLASLT_PATH", folders: ["cublaslt"] },
  { file: "libweft_emulated_cublas.so", variable: "WEFT_CUBLAS_PATH", folders: ["cublas"] },
  { file: "libweft_emulated_nvrtc.so", variable: "WEFT_NVRTC_PATH", folders: ["nvrtc"] },
  { file: "libweft_emulated_nccl.so", variable: "WEFT_NCCL_PATH", folders: ["nccl"] },
] as const;

const CORE = LIBRARIES[0].file;

const COMPILE_FLAGS = [
  "-std=c++20",
  "-O2",
  "-g1",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-fPIC",
  "-pthread",
];

// The libraries keep their state when they are closed: a stream may still have work then, and the
// threads that serve other ranks run in them.
const LINK_FLAGS = ["-shared", "-pthread", "-Wl,-z,nodelete", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN"];

/**
 * The emulated libraries: for each variable that overrides where weft finds a library, the path to
 * set it to. Builds them when they are not in the cache (about half a minute on two cores); safe to
 * call from several processes at once. Throws when g++ is missing or fails.
 */
export async function emulatorLibraries(): Promise<Record<string, string>> {
  const folder = `${cacheFolder()}/cuda_emulator`;
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const compiler = await compilerVersion();
  const objects = await objectNames(compiler);
  const key = hashOf([...objects.values()].flat(), LINK_FLAGS);
  const built = `${folder}/${key}`;
  if (!await exists(built)) {
    // One process builds, the others wait. The lock ends with its process.
    using lock = await Deno.open(`${folder}/lock`, { write: true, create: true, mode: 0o600 });
    await lock.lock(true);
    if (!await exists(built)) {
      await sweep(folder);
      await build(folder, built, objects);
    }
  }
  return Object.fromEntries(LIBRARIES.map(({ variable, file }) => [variable, `${built}/${file}`]));
}

/** A source file, and the name of the object that it is compiled to, which tells all it is made of. */
interface ObjectFile {
  readonly source: string;
  readonly name: string;
}

async function objectNames(compiler: string): Promise<Map<string, ObjectFile[]>> {
  const files = await readSources();
  const headers = hashOf([...files].filter(([path]) => !path.endsWith(".cpp")));
  return new Map(LIBRARIES.map(({ file, folders }) => {
    const sources = [...files.keys()].filter((path) =>
      path.endsWith(".cpp") && folders.some((folder) => path.startsWith(`${folder}/`))
    );
    const objects = sources.map((source) => ({
      source,
      name: `${hashOf(compiler, COMPILE_FLAGS, headers, source, files.get(source))}.o`,
    }));
    return [file, objects];
  }));
}

/** Text of every C++ file by its path in this folder, in the order of paths. */
async function readSources(): Promise<Map<string, string>> {
  const root = import.meta.dirname!;
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    if (!isDirectory) paths.push(name);
    else {for await (const file of Deno.readDir(`${root}/${name}`)) {
        paths.push(`${name}/${file.name}`);
      }}
  }
  const sources = paths.filter((path) => /\.(cpp|h|cuh)$/.test(path)).sort();
  return new Map(
    await Promise.all(
      sources.map(async (path) => [path, await Deno.readTextFile(`${root}/${path}`)] as const),
    ),
  );
}

/** Removes what earlier versions of the sources have left; the caller holds the lock. */
async function sweep(folder: string): Promise<void> {
  const weekAgo = Date.now() - 7 * 24 * 3600 * 1000;
  for await (const { name } of Deno.readDir(folder)) {
    const { mtime } = await Deno.stat(`${folder}/${name}`);
    if (name === "lock" || (mtime?.getTime() ?? 0) > weekAgo) continue;
    await Deno.remove(`${folder}/${name}`, { recursive: true });
  }
}

async function build(
  folder: string,
  built: string,
  objects: ReadonlyMap<string, readonly ObjectFile[]>,
): Promise<void> {
  const work = await Deno.makeTempDir({ dir: folder, prefix: "build-" });
  try {
    const missing: ObjectFile[] = [];
    for (const object of [...objects.values()].flat()) {
      if (!await exists(`${folder}/${object.name}`)) missing.push(object);
    }
    await inParallel(missing, async ({ source, name }) => {
      const path = `${import.meta.dirname}/${source}`;
      await runCompiler([...COMPILE_FLAGS, "-c", path, "-o", `${work}/${name}`]);
      await Deno.rename(`${work}/${name}`, `${folder}/${name}`);
    });
    await Deno.mkdir(`${work}/libraries`);
    await copyKernelHeaders(`${work}/libraries/include`);
    for (const [file, parts] of objects) {
      const others = file === CORE
        ? []
        : ["-Wl,--no-as-needed", `-L${work}/libraries`, `-l:${CORE}`];
      await runCompiler([
        ...LINK_FLAGS,
        `-Wl,-soname,${file}`,
        "-o",
        `${work}/libraries/${file}`,
        ...parts.map(({ name }) => `${folder}/${name}`),
        ...others,
        "-ldl",
      ]);
    }
    await Deno.rename(`${work}/libraries`, built);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** The emulated NVRTC includes these in programs, and looks for them beside itself. */
async function copyKernelHeaders(folder: string): Promise<void> {
  const source = `${import.meta.dirname}/include`;
  await Deno.mkdir(folder);
  for await (const { name } of Deno.readDir(source)) {
    await Deno.copyFile(`${source}/${name}`, `${folder}/${name}`);
  }
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
}

async function runCompiler(args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("g++", {
    args: [...args],
    env: { LC_ALL: "C" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const message = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot build the CUDA emulator: g++ ${args.at(-1)} reported\n${message}`);
}

async function compilerVersion(): Promise<string> {
  try {
    const { stdout } = await new Deno.Command("g++", { args: ["--version"], env: { LC_ALL: "C" } })
      .output();
    return new TextDecoder().decode(stdout).split("\n")[0];
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(
      "Cannot build the CUDA emulator as g++ is not on the PATH: install it with apt install g++",
      { cause },
    );
  }
}

function hashOf(...parts: unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
