/**
 * The GPUs of this machine and the libraries for them, for `weft inspect`.
 * @module
 */
import { openCublas } from "../native/cublas.ts";
import { type Cudart, openCudart } from "../native/cudart.ts";
import { CudaDeviceAttribute } from "../native/cudart_types.ts";
import { formatVersion, type LibraryVersion } from "../native/library.ts";
import { openNccl } from "../native/nccl.ts";
import { NativeError } from "../native/native_error.ts";
import { openNvrtc } from "../native/nvrtc.ts";

/** What there is of CUDA; a part that cannot be used says why instead. */
export interface GpuReport {
  /** Number of GPUs, or why there is none to use. */
  readonly status: string;
  /** Newest CUDA version that the driver knows; null without a driver. */
  readonly driver: string | null;
  /** Every GPU that this process sees. */
  readonly devices: readonly GpuDescription[];
  /** The libraries by name. */
  readonly libraries: Readonly<Record<string, LibraryReport>>;
}

/** One GPU. */
export interface GpuDescription {
  /** Name of the product. */
  readonly name: string;
  /** Compute capability, such as 9.0. */
  readonly compute_capability: string;
  /** Streaming multiprocessors. */
  readonly multiprocessors: number;
  /** Bytes of its memory. */
  readonly memory_bytes: number;
  /** Bytes that are free; null when the GPU does not let this process in. */
  readonly free_memory_bytes: number | null;
}

/** One library: which one is used, or why none was found. */
export type LibraryReport =
  | { readonly version: string; readonly path: string }
  | { readonly missing: string };

/** A library that is open. */
interface OpenLibrary extends Disposable {
  readonly version: LibraryVersion;
  readonly path: string;
}

/** Describes GPUs and their libraries; never throws for what is missing. */
export function describeGpus(): GpuReport {
  const cudart = describeLibrary(openCudart);
  // The others must be of the same CUDA: this is how a device is opened, too.
  const major = "version" in cudart ? Number.parseInt(cudart.version) : undefined;
  return {
    ...describeDevices(),
    libraries: {
      cudart,
      cublas: describeLibrary(() => openCublas({ major })),
      nvrtc: describeLibrary(() => openNvrtc({ major })),
      nccl: describeLibrary(openNccl),
    },
  };
}

function describeLibrary(open: () => OpenLibrary): LibraryReport {
  try {
    using library = open();
    return { version: formatVersion(library.version), path: library.path };
  } catch (error) {
    return { missing: messageOf(error) };
  }
}

function describeDevices(): Omit<GpuReport, "libraries"> {
  let driver: string | null = null;
  try {
    using cudart = openCudart();
    const version = cudart.driverGetVersion();
    driver = version === null ? null : `CUDA ${formatVersion(version)}`;
    const count = cudart.getDeviceCount();
    const devices = Array.from({ length: count }, (_, index) => describeDevice(cudart, index));
    return { status: `${count} found`, driver, devices };
  } catch (error) {
    return { status: messageOf(error), driver, devices: [] };
  }
}

function describeDevice(cudart: Cudart, index: number): GpuDescription {
  const attribute = (id: number) => cudart.deviceGetAttribute(id, index);
  const { name, totalMemory } = cudart.getDeviceProperties(index);
  const major = attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMajor);
  const minor = attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMinor);
  return {
    name,
    compute_capability: `${major}.${minor}`,
    multiprocessors: attribute(CudaDeviceAttribute.cudaDevAttrMultiProcessorCount),
    memory_bytes: totalMemory,
    free_memory_bytes: freeMemory(cudart, index),
  };
}

function freeMemory(cudart: Cudart, index: number): number | null {
  try {
    cudart.setDevice(index);
    return cudart.memGetInfo().free;
  } catch (error) {
    if (error instanceof NativeError) return null;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
