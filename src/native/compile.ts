/**
 * Compiles the CPU kernels with the system's C compiler, once per machine, into a cache.
 * @module
 */
import { createHash } from "node:crypto";
import { cached } from "./cache.ts";
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
  return cached({
    name: `cpu-${hash.slice(0, 24)}-${processor.slice(0, 8)}.so`,
    read: (path) => isFile(path) ? path : null,
    make: (work) => {
      options.onCompile?.(compiler);
      for (const { name, text } of sources) Deno.writeTextFileSync(`${work}/${name}`, text);
      build(work, sources, compiler, [...architectureFlags, `-DWEFT_KERNEL_HASH="${hash}"`]);
      Deno.chmodSync(`${work}/library.so`, 0o700);
      return `${work}/library.so`;
    },
  });
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
