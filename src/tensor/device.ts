/**
 * The device interface: memory, recording, and the kernels that models are made of.
 *
 * Layers and models see this interface only. Activations are `f32` tensors with a contiguous last
 * dimension; `rows` says how many leading rows of a buffer are in use. Kernels allocate nothing.
 * Every result's bits depend on the operands and on the device's instruction set, never on the
 * number of threads, on the other rows of the batch, or on how a prompt is cut into chunks.
 * @module
 */
import type { AttentionKernels } from "./attention_kernels.ts";
import type { ElementwiseKernels } from "./elementwise_kernels.ts";
import type { ExpertKernels } from "./expert_kernels.ts";
import type { LinearKernels } from "./linear_kernels.ts";
import type { NormKernels } from "./norm_kernels.ts";
import type { SamplingKernels } from "./sampling_kernels.ts";

/** Backend of a device. */
export type DeviceKind = "cpu" | "cuda";

/** What a device is, for `inspect`, `/health` and the metrics. */
export interface DeviceDescription {
  /** Backend. */
  readonly kind: DeviceKind;
  /** Processor or GPU name. */
  readonly name: string;
  /** Instruction set or architecture that the kernels were compiled for. */
  readonly instructionSet: string;
  /** Threads that a kernel uses (1 on a GPU). */
  readonly threads: number;
  /** Hash of the kernel sources, compiler and flags: ranks of one engine must agree. */
  readonly kernelHash: string;
}

/** A recorded sequence of kernels. */
export interface Recording extends Disposable {
  /** Runs the recorded work again. */
  replay(): void;
}

/** Memory of a device. Addresses are device addresses. */
export interface DeviceMemory {
  /** Allocates at least `byteLength` bytes, 64-byte aligned; throws CapacityError when out of memory. */
  allocate(byteLength: number): bigint;
  /** Frees what {@linkcode allocate} returned. */
  free(address: bigint): void;
  /** Copies host memory to the device. */
  upload(destination: bigint, source: ArrayBufferView): void;
  /** Copies device memory to the host, after pending work. */
  download(destination: ArrayBufferView, source: bigint): void;
  /** Copies inside the device. */
  copy(destination: bigint, source: bigint, byteLength: number): void;
}

/**
 * Backend-independent device: memory, recording and kernels. What a kernel promises stands in the
 * file of its subject.
 */
export interface Device
  extends
    DeviceMemory,
    LinearKernels,
    NormKernels,
    ElementwiseKernels,
    AttentionKernels,
    ExpertKernels,
    SamplingKernels,
    Disposable {
  /** Backend. */
  readonly kind: DeviceKind;
  /** What this device is. */
  readonly description: DeviceDescription;

  /** Waits for pending work. */
  synchronize(): void;
  /** Records kernels for {@linkcode Recording.replay} (a CUDA graph; on CPU the function itself). */
  record(run: () => void): Recording;
}
