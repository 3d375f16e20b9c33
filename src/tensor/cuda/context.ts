/**
 * What the parts of the CUDA device share.
 * @module
 */
import type { Cublas } from "../../native/cublas.ts";
import type { Cudart } from "../../native/cudart.ts";
import { CudaFunctionAttribute } from "../../native/cudart_types.ts";
import { CudaKernel, type KernelParameter } from "./kernel.ts";
import type { CudaMemory } from "./memory.ts";
import type { CudaStream } from "./stream.ts";

/** Shared memory that a block may have without asking. */
const DEFAULT_SHARED_BYTES = 48 << 10;

/** A preference for as much shared memory as a multiprocessor can have. */
const ALL_PERCENT = 100;

/** First compute capability on which kernels wait by themselves: `pdl_wait` is empty before. */
const PROGRAMMATIC_LAUNCH_ARCHITECTURE = 90;

/** The GPU as kernels see it. */
export interface CudaProperties {
  /** Which GPU of the process. */
  readonly index: number;
  /** Name of the product. */
  readonly name: string;
  /** Compute capability: 90 is 9.0. */
  readonly architecture: number;
  /** Streaming multiprocessors. */
  readonly multiprocessors: number;
  /** Most shared memory that a block can have, in bytes. */
  readonly maxSharedBytes: number;
}

/** Options of {@linkcode CudaContext}. */
export interface CudaContextOptions {
  /** The CUDA runtime. */
  readonly cudart: Cudart;
  /** The GPU. */
  readonly properties: CudaProperties;
  /** Its stream. */
  readonly stream: CudaStream;
  /** Its memory. */
  readonly memory: CudaMemory;
  /** Library of compiled kernels. */
  readonly library: bigint;
  /** cuBLAS, and its handle for the stream. */
  readonly blas: { readonly cublas: Cublas; readonly handle: bigint };
}

/** Stream, memory, libraries and kernels of one CUDA device. */
export class CudaContext {
  /** The GPU. */
  readonly properties: CudaProperties;
  /** Its stream. */
  readonly stream: CudaStream;
  /** Its memory. */
  readonly memory: CudaMemory;
  /** The CUDA runtime. */
  readonly cudart: Cudart;
  /** cuBLAS, and its handle for the stream. */
  readonly blas: { readonly cublas: Cublas; readonly handle: bigint };
  readonly #library: bigint;
  #workspace = 0n;
  #workspaceBytes = 0;

  /** Shares what was opened; owns nothing of it. */
  constructor(options: CudaContextOptions) {
    this.properties = options.properties;
    this.stream = options.stream;
    this.memory = options.memory;
    this.cudart = options.cudart;
    this.blas = options.blas;
    this.#library = options.library;
  }

  /**
   * The kernel `name` of `native/cuda`. `sharedBytes`: most dynamic shared memory that it is launched
   * with. Throws RangeError when the GPU has less, NativeError when there is no such kernel.
   */
  kernel(
    name: string,
    parameters: readonly KernelParameter[],
    options: { readonly sharedBytes?: number } = {},
  ): CudaKernel {
    const { sharedBytes = 0 } = options;
    const { index, architecture, maxSharedBytes } = this.properties;
    if (sharedBytes > maxSharedBytes) {
      throw new RangeError(
        `Cannot run ${name} as it takes ${sharedBytes} bytes of shared memory: the GPU has ${maxSharedBytes}`,
      );
    }
    const kernel = this.cudart.libraryGetKernel(this.#library, name);
    if (sharedBytes > DEFAULT_SHARED_BYTES) {
      const set = (attribute: number, value: number) =>
        this.cudart.kernelSetAttributeForDevice(kernel, attribute, value, index);
      set(CudaFunctionAttribute.cudaFuncAttributeMaxDynamicSharedMemorySize, sharedBytes);
      // A block of the next kernel finds room beside this one's only where caches leave it.
      set(CudaFunctionAttribute.cudaFuncAttributePreferredSharedMemoryCarveout, ALL_PERCENT);
    }
    return new CudaKernel(this.cudart, {
      name,
      kernel,
      stream: this.stream.handle,
      parameters,
      maxSharedBytes: Math.max(sharedBytes, DEFAULT_SHARED_BYTES),
      startsEarly: architecture >= PROGRAMMATIC_LAUNCH_ARCHITECTURE,
    });
  }

  /**
   * At least `byteLength` bytes of scratch, good until the next call: kernels run in order, so one
   * region serves them all. It grows outside recordings only; regions that were outgrown stay, as
   * recordings may hold their address.
   */
  workspace(byteLength: number): bigint {
    if (byteLength > this.#workspaceBytes) {
      this.#workspace = this.memory.allocate(byteLength);
      this.#workspaceBytes = byteLength;
    }
    return this.#workspace;
  }
}
