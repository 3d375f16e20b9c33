/**
 * Compiles the CUDA kernels for a GPU, once per machine, into the cache.
 * @module
 */
import { createHash } from "node:crypto";
import { cached } from "./cache.ts";
import type { Nvrtc, NvrtcProgram } from "./nvrtc.ts";
import type { NativeSource } from "./sources.ts";

const CHECKSUM_BYTES = 32;

/** What is compiled, and for which GPU. */
export interface CudaProgramOptions {
  /** Compute capability of the GPU as a number: 90 is 9.0. */
  readonly architecture: number;
  /** The `.cu` files, which become one program, and those that they include. */
  readonly sources: readonly NativeSource[];
}

/** What of NVRTC is needed. */
export type CudaCompiler = Pick<Nvrtc, "path" | "version" | "compile">;

/** Options of {@linkcode compileCudaKernels}. */
export interface CudaCompileOptions extends CudaProgramOptions {
  /** The compiler. */
  readonly nvrtc: CudaCompiler;
}

/** Kernels as machine code. */
export interface CudaKernels {
  /** Machine code for one architecture. */
  readonly cubin: Uint8Array<ArrayBuffer>;
  /** Hash of the sources, the compiler and its options. */
  readonly hash: string;
}

/** The program of all kernels: floating point as written, no fast arithmetic but where it is named. */
export function cudaProgram({ architecture, sources }: CudaProgramOptions): NvrtcProgram {
  const files = sources.map(({ name }) => name).filter((name) => name.endsWith(".cu"));
  return {
    name: "weft.cu",
    source: files.map((name) => `#include "${name}"\n`).join(""),
    headers: sources,
    options: [`--gpu-architecture=sm_${architecture}`, "-default-device", "--std=c++17"],
  };
}

/**
 * Machine code of the kernels; from the cache when it was compiled before, otherwise this blocks for
 * some seconds. Throws NativeError with what the compiler said when it fails.
 */
export function compileCudaKernels(options: CudaCompileOptions): CudaKernels {
  const { nvrtc, architecture } = options;
  const program = cudaProgram(options);
  const hash = programHash(program, nvrtc);
  const cubin = cached({
    name: `cuda-${hash.slice(0, 24)}-sm_${architecture}.cubin`,
    read: readChecked,
    make: (work) => {
      const path = `${work}/kernels.cubin`;
      writeChecked(path, nvrtc.compile(program).cubin);
      return path;
    },
  });
  return { cubin, hash };
}

function programHash(program: NvrtcProgram, { path, version }: CudaCompiler): string {
  // The version says nothing of patches, nor that a library is another's stand-in.
  const { size, mtime } = Deno.statSync(path);
  return createHash("sha256")
    .update(JSON.stringify([path, size, mtime, version, program]))
    .digest("hex");
}

function writeChecked(path: string, contents: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  for (const part of [checksum(contents), contents]) {
    for (let written = 0; written < part.length;) {
      written += file.writeSync(part.subarray(written));
    }
  }
}

/** What was written to `path`; null when nothing was or when the file is damaged. */
function readChecked(path: string): Uint8Array<ArrayBuffer> | null {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const contents = bytes.subarray(CHECKSUM_BYTES);
  const expected = checksum(contents);
  return expected.every((byte, index) => byte === bytes[index]) ? contents : null;
}

function checksum(contents: Uint8Array): Uint8Array {
  return createHash("sha256").update(contents).digest();
}
