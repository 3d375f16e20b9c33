/**
 * Compiles the CPU kernels with the system's C compiler, once per machine, into a cache.
 * @module
 */
import { createHash } from "node:crypto";
import { CPU_SOURCES, type NativeSource } from "./sources.ts";

const COMPILERS = ["cc", "gcc", "clang"] as const;

// Contraction stays off so that a compiler cannot choose where a product is rounded (NUMERICS.md 3);
// the kernels name their fused multiply-adds.
const COMMON_FLAGS: readonly string[] = [
  "-O3",
  "-std=gnu11",
  "-Wall",
  "-Werror=implicit-function-declaration",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fPIC",
  "-pthread",
];

// Compiles every source to an object, $JOBS at a time, then links. Its arguments are the sources.
const BUILD_SCRIPT = `
printf '%s\\n' "$@" | xargs -P "$JOBS" -I '{}' $CC $FLAGS -c '{}' -o '{}.o' || exit 1
exec $CC -shared -pthread -o library.so *.o -lm
`;

/** How the names of folders begin in which a compilation works. */
const WORK_PREFIX = "build-";

/** Options of {@linkcode nativeLibraryPath}. */
export interface NativeLibraryOptions {
  /** Called before a compilation, which takes some seconds. */
  readonly onCompile?: (compiler: Compiler) => void;
}

/**
 * Path of the native library of the CPU kernels, compiled for this machine; from the cache when it
 * was compiled before. Blocks while compiling (some seconds).
 *
 * Throws when the platform is not Linux x86-64, when there is no C compiler, or when it fails.
 */
export function nativeLibraryPath(options: NativeLibraryOptions = {}): string {
  return compileSources(CPU_SOURCES, nativeArchitectureFlags(), options);
}

/** Compiler flags that select this machine's instruction set, with full-width vectors. */
export function nativeArchitectureFlags(): string[] {
  checkPlatform();
  const flags = ["-march=native"];
  if (/\bavx512f\b/.test(processorField("flags"))) flags.push("-mprefer-vector-width=512");
  return flags;
}

/** Name of the processor, as the kernel reports it. */
export function processorName(): string {
  return processorField("model name") || "unknown x86-64 processor";
}

/**
 * Compiles `sources` with `architectureFlags` into a shared library and returns its path, or returns
 * what an earlier call compiled from the same inputs. Safe to call from many processes at once.
 */
export function compileSources(
  sources: readonly NativeSource[],
  architectureFlags: readonly string[],
  options: NativeLibraryOptions = {},
): string {
  checkPlatform();
  const compiler = findCompiler();
  const processor = createHash("sha256")
    .update(`${processorField("model name")}\n${processorField("flags")}`)
    .digest("hex");
  const hash = sourceHash(sources, compiler, architectureFlags);
  const folder = cacheFolder();
  const path = `${folder}/cpu-${hash.slice(0, 24)}-${processor.slice(0, 8)}.so`;
  if (isFile(path)) return path;

  // Ranks that start together: one compiles, the others wait. The lock ends with its process.
  using lock = inCache(
    folder,
    () => Deno.openSync(`${folder}/lock`, { write: true, create: true, mode: 0o600 }),
  );
  lock.lockSync(true);
  if (isFile(path)) return path;
  sweepWorkFolders(folder);
  options.onCompile?.(compiler);
  // A folder of its own, then a rename: others see a whole library or none.
  const work = Deno.makeTempDirSync({ dir: folder, prefix: WORK_PREFIX });
  try {
    for (const { name, text } of sources) Deno.writeTextFileSync(`${work}/${name}`, text);
    build(work, sources, compiler, [...architectureFlags, `-DWEFT_KERNEL_HASH="${hash}"`]);
    Deno.chmodSync(`${work}/library.so`, 0o700);
    flush(`${work}/library.so`);
    Deno.renameSync(`${work}/library.so`, path);
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
  return path;
}

/** Removes what compilations that were killed have left; the caller holds the lock. */
function sweepWorkFolders(folder: string): void {
  for (const { name } of Deno.readDirSync(folder)) {
    if (name.startsWith(WORK_PREFIX)) Deno.removeSync(`${folder}/${name}`, { recursive: true });
  }
}

/** To the disk before it gets its name: a crash must not leave half a library under it. */
function flush(path: string): void {
  using file = Deno.openSync(path, { write: true });
  file.syncSync();
}

/** A C compiler. */
export interface Compiler {
  /** Its name on the PATH. */
  readonly command: string;
  /** First line of what it says of its version. */
  readonly version: string;
}

function build(
  work: string,
  sources: readonly NativeSource[],
  compiler: Compiler,
  flags: readonly string[],
): void {
  const files = sources.map(({ name }) => name).filter((name) => name.endsWith(".c"));
  const { success, stderr } = new Deno.Command("/bin/sh", {
    args: ["-c", BUILD_SCRIPT, "sh", ...files],
    cwd: work,
    env: {
      CC: compiler.command,
      FLAGS: [...COMMON_FLAGS, ...flags].join(" "),
      JOBS: String(navigator.hardwareConcurrency),
      LC_ALL: "C",
    },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!success) {
    const message = new TextDecoder().decode(stderr).trim();
    throw new Error(
      `Cannot compile the CPU kernels with ${compiler.version}: ${compiler.command} reported\n${message}`,
    );
  }
}

function sourceHash(
  sources: readonly NativeSource[],
  compiler: Compiler,
  architectureFlags: readonly string[],
): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([compiler.version, COMMON_FLAGS, architectureFlags]));
  for (const { name, text } of sources) hash.update(JSON.stringify([name, text]));
  return hash.digest("hex");
}

/** The C compiler that is used; throws an error that says how to install one when there is none. */
export function findCompiler(): Compiler {
  for (const command of COMPILERS) {
    try {
      const { success, stdout } = new Deno.Command(command, {
        args: ["--version"],
        env: { LC_ALL: "C" },
        stdin: "null",
        stderr: "null",
      }).outputSync();
      if (success) return { command, version: new TextDecoder().decode(stdout).split("\n")[0] };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(
    `Cannot compile the CPU kernels as no C compiler is on the PATH: looked for ${
      COMPILERS.join(", ")
    }. Install one with: apt install gcc libc6-dev (Debian, Ubuntu), dnf install gcc (Fedora, RHEL), ` +
      `apk add gcc musl-dev (Alpine), pacman -S gcc (Arch), zypper install gcc (openSUSE)`,
  );
}

function checkPlatform(): void {
  const { os, arch } = Deno.build;
  if (os !== "linux" || arch !== "x86_64") {
    throw new Error(
      `Cannot run the CPU kernels as they need Linux on x86-64: this is ${os} ${arch}`,
    );
  }
}

/**
 * Folder for what this machine need not make or fetch twice; made when it is not there. Throws when
 * other users can write to it.
 */
export function cacheFolder(): string {
  const folder = cachePath();
  inCache(folder, () => Deno.mkdirSync(folder, { recursive: true, mode: 0o700 }));
  const { uid, mode } = Deno.statSync(folder);
  // Code is loaded from here: nobody else may be able to put it there.
  if (uid !== Deno.uid() || ((mode ?? 0) & 0o022) !== 0) {
    throw new Error(
      `Cannot use the cache folder ${folder} as other users can write to it: set WEFT_CACHE_DIR to a private folder`,
    );
  }
  return folder;
}

/** What `use` returns; when it fails, the error says which folder is meant and how to choose another. */
function inCache<T>(folder: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot write to the cache folder ${folder}: ${reason}; set WEFT_CACHE_DIR to a private folder`,
      { cause },
    );
  }
}

function cachePath(): string {
  const explicit = Deno.env.get("WEFT_CACHE_DIR");
  if (explicit) return explicit;
  // Relative ones mean nothing (XDG Base Directory Specification).
  const cache = Deno.env.get("XDG_CACHE_HOME");
  if (cache?.startsWith("/")) return `${cache}/weft`;
  const home = Deno.env.get("HOME");
  if (home?.startsWith("/")) return `${home}/.cache/weft`;
  return `${Deno.env.get("TMPDIR") || "/tmp"}/weft-${Deno.uid()}`;
}

function processorField(name: string): string {
  const line = Deno.readTextFileSync("/proc/cpuinfo").split("\n").find((line) =>
    line.startsWith(name)
  );
  return line?.slice(line.indexOf(":") + 1).trim() ?? "";
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
