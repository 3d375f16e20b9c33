/**
 * A GPU as a device: kernels of `native/cuda` and cuBLAS on one stream.
 * @module
 */
import { checkedAttentionKernels } from "../attention_arguments.ts";
import type { Device } from "../device.ts";
import { checkedElementwiseKernels } from "../elementwise_kernels.ts";
import { checkedExpertKernels } from "../expert_kernels.ts";
import { checkedLinearKernels } from "../linear_kernels.ts";
import { checkedNormKernels } from "../norm_kernels.ts";
import { checkedSamplingKernels } from "../sampling_arguments.ts";
import { cudaAttentionKernels } from "./attention_kernels.ts";
import { cudaElementwiseKernels } from "./elementwise_kernels.ts";
import { cudaExpertKernels } from "./expert_kernels.ts";
import { cudaLinearKernels } from "./linear_kernels.ts";
import { cudaNormKernels } from "./norm_kernels.ts";
import { type CudaContextSettings, openCudaContext } from "./open_context.ts";
import { cudaSamplingKernels } from "./sampling_kernels.ts";
import type { CudaStream } from "./stream.ts";

/** A GPU. */
export interface CudaDevice extends Device {
  /** Always `cuda`. */
  readonly kind: "cuda";
  /** Where everything is queued. */
  readonly stream: CudaStream;
}

/** Whether a device is a GPU. */
export function isCudaDevice(device: Device): device is CudaDevice {
  return device.kind === "cuda";
}

/**
 * Opens a GPU. It belongs to the calling thread; disposing it waits for its work and frees its memory.
 *
 * @throws {LibraryError} when a CUDA library is missing or too old.
 * @throws {NativeError} when there is no driver, or CUDA fails.
 * @throws {RangeError} when the GPU is not there or too old.
 */
export function openCudaDevice(settings: CudaContextSettings = {}): CudaDevice {
  const opened = openCudaContext(settings);
  const { context, kernelHash } = opened;
  const { memory, stream, cudart, properties } = context;
  const elementwise = cudaElementwiseKernels(context);
  const { name, architecture } = properties;
  let disposed = false;

  return {
    kind: "cuda",
    stream,
    description: {
      kind: "cuda",
      name,
      instructionSet: `sm_${architecture}`,
      instructionSetReason: "the GPU's own",
      threads: 1,
      kernelHash,
    },
    canRecord: true,

    allocate: (byteLength) => memory.allocate(byteLength),
    free: (address) => memory.free(address),
    upload: (destination, source) => memory.upload(destination, source),
    download: (destination, source) => memory.download(destination, source),
    copy: (destination, source, byteLength) => memory.copy(destination, source, byteLength),

    // Tensor cores multiply what weights are stored in.
    activationDtype: (weights) => weights,
    memoryInfo: () => cudart.memGetInfo(),
    readback: (byteLength) => memory.readback(byteLength),
    synchronize: () => stream.synchronize(),
    record: (run) => stream.record(run),

    ...checkedLinearKernels(cudaLinearKernels(context, elementwise)),
    ...checkedNormKernels(cudaNormKernels(context)),
    ...checkedElementwiseKernels(elementwise),
    ...checkedAttentionKernels(cudaAttentionKernels(context)),
    ...checkedExpertKernels(cudaExpertKernels(context)),
    ...checkedSamplingKernels(cudaSamplingKernels(context)),

    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      opened[Symbol.dispose]();
    },
  };
}
