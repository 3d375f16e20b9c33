/**
 * Opens a GPU: libraries, stream, memory, and the kernels compiled for it.
 * @module
 */
import { type Cublas, openCublas } from "../../native/cublas.ts";
import { compileCudaKernels } from "../../native/cuda_compile.ts";
import { CUDA_SOURCES } from "../../native/cuda_sources.ts";
import { type Cudart, openCudart } from "../../native/cudart.ts";
import { CudaDeviceAttribute } from "../../native/cudart_types.ts";
import { openNvrtc } from "../../native/nvrtc.ts";
import { CudaContext, type CudaProperties } from "./context.ts";
import { CudaMemory } from "./memory.ts";
import { CudaStream } from "./stream.ts";

/** Oldest compute capability that the kernels are written for: 8.0, Ampere. */
const MIN_ARCHITECTURE = 80;

/** What cuBLAS recommends for Hopper; products in recordings need it to be there beforehand. */
const BLAS_WORKSPACE_BYTES = 32 << 20;

/** Deadline of waits when nothing is said, in milliseconds. */
const DEFAULT_TIMEOUT_MS = 600_000;

/** Options of {@linkcode openCudaContext}. */
export interface CudaContextSettings {
  /** Which of the process's GPUs, from 0. Default 0. */
  readonly index?: number;
  /** Deadline of waits for the GPU, in milliseconds. Default 600000. */
  readonly timeoutMs?: number;
}

/** A context with its owner's duties. */
export interface OpenCudaContext extends Disposable {
  /** The open GPU. */
  readonly context: CudaContext;
  /** Hash of the compiled kernels. */
  readonly kernelHash: string;
}

/**
 * Opens a GPU for the calling thread. The kernels are compiled at first use, which takes some seconds,
 * and cached. Throws LibraryError when a library is missing, NativeError when CUDA fails, RangeError for
 * a GPU that is not there or too old.
 */
export function openCudaContext(settings: CudaContextSettings = {}): OpenCudaContext {
  const { index = 0, timeoutMs = DEFAULT_TIMEOUT_MS } = settings;
  using resources = new DisposableStack();
  const cudart = resources.use(openCudart());
  const properties = readProperties(cudart, index);
  cudart.setDevice(index);
  const { cubin, hash } = compileKernels(cudart, properties.architecture);
  const stream = resources.use(new CudaStream(cudart, timeoutMs));
  const memory = resources.use(new CudaMemory(cudart, stream));
  const library = resources.adopt(
    cudart.libraryLoadData(cubin),
    (library) => cudart.libraryUnload(library),
  );
  const blas = openBlas(cudart, stream, memory, resources);
  const owned = resources.move();
  return {
    context: new CudaContext({ cudart, properties, stream, memory, library, blas }),
    kernelHash: hash,
    [Symbol.dispose]() {
      try {
        if (!stream.failed) stream.synchronize();
      } catch {
        // Reported to whoever waited for that work; if nobody did, nobody missed it.
      }
      if (!stream.failed) owned.dispose();
    },
  };
}

function readProperties(cudart: Cudart, index: number): CudaProperties {
  const count = cudart.getDeviceCount();
  if (!Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`Cannot open GPU ${index} as this process sees ${count}`);
  }
  const attribute = (id: number) => cudart.deviceGetAttribute(id, index);
  const { name } = cudart.getDeviceProperties(index);
  const architecture = 10 * attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMajor) +
    attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMinor);
  if (architecture < MIN_ARCHITECTURE) {
    throw new RangeError(
      `Cannot use GPU ${index}, ${name}, as compute capability 8.0 is needed: it has ${
        architecture / 10
      }`,
    );
  }
  return {
    index,
    name,
    architecture,
    multiprocessors: attribute(CudaDeviceAttribute.cudaDevAttrMultiProcessorCount),
    maxSharedBytes: attribute(CudaDeviceAttribute.cudaDevAttrMaxSharedMemoryPerBlockOptin),
  };
}

function compileKernels(cudart: Cudart, architecture: number) {
  using nvrtc = openNvrtc({ major: cudart.version[0] });
  return compileCudaKernels({ nvrtc, architecture, sources: CUDA_SOURCES });
}

function openBlas(
  cudart: Cudart,
  stream: CudaStream,
  memory: CudaMemory,
  resources: DisposableStack,
): { readonly cublas: Cublas; readonly handle: bigint } {
  const cublas = resources.use(openCublas({ major: cudart.version[0] }));
  const handle = resources.adopt(cublas.create(), (handle) => cublas.destroy(handle));
  cublas.setStream(handle, stream.handle);
  cublas.setWorkspace(handle, memory.allocate(BLAS_WORKSPACE_BYTES), BLAS_WORKSPACE_BYTES);
  return { cublas, handle };
}
