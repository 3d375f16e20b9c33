/**
 * Builds llama.cpp from the source that the npm package node-llama-cpp carries.
 */
import { cpuFlags } from "./machine.ts";
import { runProgram } from "./run_program.ts";

/** Pinned, so that figures of two days can be compared. */
const PACKAGE = "node-llama-cpp@3.22.1";

/** Programs that are used. */
export const LLAMA_CPP_PROGRAMS = ["llama-bench", "llama-batched-bench", "llama-server"] as const;

/** Instruction sets of x86-64 by ggml's name, and the processor's flags that each needs. */
const X86_SETS: Readonly<Record<string, readonly string[]>> = {
  SSE42: ["sse4_2"],
  AVX: ["avx"],
  AVX2: ["avx2"],
  BMI2: ["bmi2"],
  FMA: ["fma"],
  F16C: ["f16c"],
  AVX_VNNI: ["avx_vnni"],
  AVX512: ["avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"],
  AVX512_VBMI: ["avx512vbmi"],
  AVX512_VNNI: ["avx512_vnni"],
  AVX512_BF16: ["avx512_bf16"],
  AMX_TILE: ["amx_tile"],
  AMX_INT8: ["amx_int8"],
  AMX_BF16: ["amx_bf16"],
};

const COMMON_FLAGS: readonly string[] = [
  "-DCMAKE_BUILD_TYPE=Release",
  "-DBUILD_SHARED_LIBS=OFF",
  "-DGGML_CCACHE=OFF",
  "-DLLAMA_BUILD_TESTS=OFF",
  "-DLLAMA_BUILD_EXAMPLES=OFF",
  "-DLLAMA_BUILD_APP=OFF",
  "-DLLAMA_BUILD_UI=OFF",
  "-DLLAMA_USE_PREBUILT_UI=OFF",
  "-DLLAMA_OPENSSL=OFF",
];

/**
 * CMake's flags for a processor with `flags`. On x86-64 every instruction set is named, as
 * `-march=native` of older compilers takes new processors for slower ones.
 */
export function cmakeFlags(arch: string, flags: ReadonlySet<string>): string[] {
  if (arch !== "x86_64") return [...COMMON_FLAGS, "-DGGML_NATIVE=ON"];
  const sets = Object.entries(X86_SETS).map(([name, needed]) =>
    `-DGGML_${name}=${needed.every((flag) => flags.has(flag)) ? "ON" : "OFF"}`
  );
  return [...COMMON_FLAGS, "-DGGML_NATIVE=OFF", ...sets];
}

/** A build. */
export interface LlamaCppBuild {
  /** Folder of the programs. */
  readonly folder: string;
  /** Where the source came from and CMake's flags. */
  readonly origin: string;
}

/**
 * Builds llama.cpp under `cache`, or finds what was built before. Takes minutes. Throws Error when
 * npm, git, CMake or a C++ compiler is missing or fails.
 */
export async function buildLlamaCpp(
  cache: string,
  log: (line: string) => void,
): Promise<LlamaCppBuild> {
  const flags = cmakeFlags(Deno.build.arch, cpuFlags(await Deno.readTextFile("/proc/cpuinfo")));
  const hash = await shortHash(`${PACKAGE}\n${flags.join("\n")}`);
  const folder = `${cache}/llama.cpp-${hash}`;
  const build = { folder, origin: `${PACKAGE}, ${flags.join(" ")}` };
  if (await exists(folder)) return build;
  log(`building llama.cpp of ${PACKAGE} in ${cache}: this takes some minutes`);
  const work = await Deno.makeTempDir({ dir: cache, prefix: "build-" });
  try {
    await runProgram({ command: ["npm", "pack", PACKAGE, "--pack-destination", work] });
    const [archive] = [...Deno.readDirSync(work)].map(({ name }) => name);
    const bundle = "package/llama/gitRelease.bundle";
    await runProgram({ command: ["tar", "-xzf", archive, bundle], cwd: work });
    await runProgram({ command: ["git", "clone", "--quiet", bundle, "source"], cwd: work });
    await runProgram({ command: ["cmake", "-S", "source", "-B", "made", ...flags], cwd: work });
    const jobs = String(navigator.hardwareConcurrency);
    await runProgram({
      command: [
        ...["nice", "cmake", "--build", "made", "--parallel", jobs, "--target"],
        ...LLAMA_CPP_PROGRAMS,
      ],
      cwd: work,
    });
    // A rename comes last: others see all programs or none.
    await Deno.rename(`${work}/made/bin`, folder);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  return build;
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

async function shortHash(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex().slice(0, 12);
}
