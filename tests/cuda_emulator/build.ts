/**
 * Builds the CUDA emulator with g++, once per machine, into weft's cache folder.
 * @module
 */
import { createHash } from "node:crypto";
import { cacheFolder } from "../../src/native/cache.ts";

/** Libraries that lie in one folder, which is named after what they are made of. */
interface LibraryGroup {
  /** Other folders that are copied there. */
  readonly copied: readonly string[];
  /** The libraries: file, variable that overrides where weft finds it, folders of its sources. */
  readonly libraries: readonly {
    readonly file: string;
    readonly variable: string;
    readonly sources: readonly string[];
  }[];
}

const CORE = "libweft_cuda_emulator.so";

/**
 * The first group holds the core, which all others are linked with. The emulated NVRTC lies there too,
 * as it compiles against the core; a change of the others leaves its compiled kernels valid.
 */
const GROUPS: readonly LibraryGroup[] = [
  {
    copied: ["include"],
    libraries: [
      { file: CORE, variable: "WEFT_CUDART_PATH", sources: ["core", "cudart"] },
      { file: "libweft_emulated_nvrtc.so", variable: "WEFT_NVRTC_PATH", sources: ["nvrtc"] },
    ],
  },
  {
    copied: [],
    libraries: [
      {
        file: "libweft_emulated_cublaslt.so",
        variable: "WEFT_CUBLASLT_PATH",
        sources: ["cublaslt"],
      },
      { file: "libweft_emulated_cublas.so", variable: "WEFT_CUBLAS_PATH", sources: ["cublas"] },
    ],
  },
  {
    copied: [],
    libraries: [
      { file: "libweft_emulated_nccl.so", variable: "WEFT_NCCL_PATH", sources: ["nccl"] },
    ],
  },
];

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
const LINK_FLAGS = ["-shared", "-pthread", "-Wl,-z,nodelete", "-Wl,-z,defs"];

/**
 * The emulated libraries: for each variable that overrides where weft finds a library, the path to
 * set it to. Builds them when they are not in the cache (about half a minute on two cores); safe to
 * call from several processes at once. Throws when g++ is missing or fails.
 */
export async function emulatorLibraries(): Promise<Record<string, string>> {
  const cache = `${cacheFolder()}/cuda_emulator`;
  await Deno.mkdir(cache, { recursive: true, mode: 0o700 });
  const plans = planBuild(cache, await compilerVersion(), await readSources());
  if (!await areBuilt(plans)) {
    // One process builds, the others wait. The lock ends with its process.
    using lock = await Deno.open(`${cache}/lock`, { write: true, create: true, mode: 0o600 });
    await lock.lock(true);
    if (!await areBuilt(plans)) await build(cache, plans);
  }
  return Object.fromEntries(
    plans.flatMap(({ folder, libraries }) =>
      libraries.map(({ variable, file }) => [variable, `${folder}/${file}`])
    ),
  );
}

/** How a group is built. */
interface BuildPlan {
  /** Where it will lie. */
  readonly folder: string;
  readonly copied: readonly string[];
  readonly libraries: readonly {
    readonly file: string;
    readonly variable: string;
    readonly objects: readonly ObjectFile[];
  }[];
}

/** A source file, and the name of the object that it is compiled to, which tells all it is made of. */
interface ObjectFile {
  readonly source: string;
  readonly name: string;
}

function planBuild(
  cache: string,
  compiler: string,
  files: ReadonlyMap<string, string>,
): BuildPlan[] {
  const headers = hashOf([...files].filter(([path]) => !path.endsWith(".cpp")));
  const plans: BuildPlan[] = [];
  for (const { copied, libraries } of GROUPS) {
    const planned = libraries.map(({ file, variable, sources }) => ({
      file,
      variable,
      objects: [...files.keys()]
        .filter((path) => path.endsWith(".cpp") && sources.includes(path.split("/")[0]))
        .map((source) => ({
          source,
          name: `${hashOf(compiler, COMPILE_FLAGS, headers, files.get(source))}.o`,
        })),
    }));
    const folder = `${cache}/${hashOf(planned, LINK_FLAGS, plans[0]?.folder ?? "")}`;
    plans.push({ folder, copied, libraries: planned });
  }
  return plans;
}

async function areBuilt(plans: readonly BuildPlan[]): Promise<boolean> {
  for (const { folder } of plans) if (!await exists(folder)) return false;
  return true;
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
async function sweep(cache: string): Promise<void> {
  const weekAgo = Date.now() - 7 * 24 * 3600 * 1000;
  for await (const { name } of Deno.readDir(cache)) {
    const { mtime } = await Deno.stat(`${cache}/${name}`);
    if (name === "lock" || (mtime?.getTime() ?? 0) > weekAgo) continue;
    await Deno.remove(`${cache}/${name}`, { recursive: true });
  }
}

async function build(cache: string, plans: readonly BuildPlan[]): Promise<void> {
  await sweep(cache);
  const work = await Deno.makeTempDir({ dir: cache, prefix: "build-" });
  try {
    const missing: ObjectFile[] = [];
    for (const object of plans.flatMap(({ libraries }) => libraries.flatMap((l) => l.objects))) {
      if (!await exists(`${cache}/${object.name}`)) missing.push(object);
    }
    await inParallel(missing, async ({ source, name }) => {
      const path = `${import.meta.dirname}/${source}`;
      await runCompiler(path, [...COMPILE_FLAGS, "-c", path, "-o", `${work}/${name}`]);
      await Deno.rename(`${work}/${name}`, `${cache}/${name}`);
    });
    const core = `${plans[0].folder}/${CORE}`;
    for (const plan of plans) {
      if (!await exists(plan.folder)) await link(cache, plan, core, `${work}/linked`);
    }
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Links a group in the folder `work`, then gives it its name: others see all of it or nothing. */
async function link(cache: string, plan: BuildPlan, core: string, work: string): Promise<void> {
  await Deno.mkdir(work);
  for (const folder of plan.copied) {
    await copyFolder(`${import.meta.dirname}/${folder}`, `${work}/${folder}`);
  }
  for (const { file, objects } of plan.libraries) {
    // The core of this group has no name yet.
    const folder = core.startsWith(plan.folder) ? work : core.slice(0, -CORE.length);
    await runCompiler(file, [
      ...LINK_FLAGS,
      `-Wl,-soname,${file}`,
      `-Wl,-rpath,${core.slice(0, -CORE.length - 1)}`,
      "-o",
      `${work}/${file}`,
      ...objects.map(({ name }) => `${cache}/${name}`),
      ...file === CORE ? [] : ["-Wl,--no-as-needed", `-L${folder}`, `-l:${CORE}`],
      "-ldl",
    ]);
  }
  await Deno.rename(work, plan.folder);
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
}

async function runCompiler(what: string, args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("g++", {
    args: [...args],
    env: { LC_ALL: "C" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const message = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot build the CUDA emulator: g++ reported for ${what}\n${message}`);
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
