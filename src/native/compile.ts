/**
 * Compiles C sources with the system's compiler, once per machine, into a cache.
 * @module
 */
import { createHash } from "node:crypto";
import { cached } from "./cache.ts";
import { type Compiler, findCompiler } from "./compiler.ts";
import type { NativeSource } from "./sources.ts";

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

/** Options of {@linkcode compileSources}. */
export interface CompileOptions {
  /** Called before a compilation, which takes some seconds. */
  readonly onCompile?: (compiler: Compiler) => void;
}

/**
 * Compiles `sources` with `architectureFlags` into a shared library and returns its path, or returns
 * what an earlier call compiled from the same inputs. Safe to call from many processes at once.
 */
export function compileSources(
  sources: readonly NativeSource[],
  architectureFlags: readonly string[],
  options: CompileOptions = {},
): string {
  const compiler = findCompiler();
  const hash = sourceHash(sources, compiler, architectureFlags);
  return cached({
    name: `cpu-${hash.slice(0, 32)}.so`,
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

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
