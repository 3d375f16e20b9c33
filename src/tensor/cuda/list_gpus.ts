/**
 * What GPUs there are, found without using one: no context is made, no memory taken.
 * @module
 */
import { openCublas } from "../../native/cublas.ts";
import { openCudart } from "../../native/cudart.ts";
import { CudaDeviceAttribute } from "../../native/cudart_types.ts";
import { openNvrtc } from "../../native/nvrtc.ts";

/** A GPU that the process sees. */
export interface GpuDescription {
  /** Name of the product. */
  readonly name: string;
  /** Compute capability as a number: 90 is 9.0. */
  readonly architecture: number;
  /** Bytes of its memory. */
  readonly totalMemory: number;
}

/**
 * The GPUs that this process sees, in CUDA's order, when all libraries are there that computing on them
 * needs.
 *
 * @throws {LibraryError} when a CUDA library is missing or too old.
 * @throws {NativeError} when there is no driver or no GPU.
 */
export function listGpus(): GpuDescription[] {
  using cudart = openCudart();
  const gpus = Array.from({ length: cudart.getDeviceCount() }, (_, index) => {
    const attribute = (id: number) => cudart.deviceGetAttribute(id, index);
    const major = attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMajor);
    const minor = attribute(CudaDeviceAttribute.cudaDevAttrComputeCapabilityMinor);
    return { ...cudart.getDeviceProperties(index), architecture: 10 * major + minor };
  });
  openNvrtc({ major: cudart.version[0] })[Symbol.dispose]();
  openCublas({ major: cudart.version[0] })[Symbol.dispose]();
  return gpus;
}
