/**
 * The device interface: memory, recording, and the kernels that models are made of.
 *
 * Layers and models see this interface only. Activations are tensors with a contiguous last
 * dimension; `rows` says how many leading rows of a buffer are in use. Kernels allocate nothing, and
 * run in the order of their calls; they may still run when the call has returned.
 * On the CPU every result's bits depend on the operands and the instruction set, never on the number of
 * threads, on the other rows of the batch, or on how a prompt is cut into chunks; on a GPU results
 * agree up to rounding (docs/NUMERICS.md).
 * @module
 */
import type { AttentionKernels } from "./attention_kernels.ts";
import type { WeightDType } from "./dtype.ts";
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
  /** Why these. */
  readonly instructionSetReason: string;
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

/** Host memory that takes results from a device without making the caller wait for them. */
export interface Readback extends Disposable {
  /** Queues the copy of `byteLength` bytes behind pending work; the one before must have been read. */
  start(source: bigint, byteLength: number): void;
  /** Whether the copy has arrived. Throws when the work before it has failed. */
  isReady(): boolean;
  /** Waits for the copy, under the device's deadline; the bytes are good until the next `start`. */
  read(): Uint8Array<ArrayBuffer>;
}

/** Memory of a device. Addresses are device addresses. */
export interface DeviceMemory {
  /** Allocates at least `byteLength` bytes, 64-byte aligned; throws CapacityError when out of memory. */
  allocate(byteLength: number): bigint;
  /** Frees what {@linkcode allocate} returned. */
  free(address: bigint): void;
  /** Copies host memory to the device, in the order of the kernels; `source` may be changed at once. */
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
  /** Whether a replayed recording costs less than the calls it holds (CUDA graphs). */
  readonly canRecord: boolean;

  /**
   * Type of the activations of a model whose linear weights are `weights`: inputs of linear layers,
   * outputs of column-parallel layers and of attention, keys and values. The residual stream, outputs
   * of row-parallel layers and logits are f32.
   */
  activationDtype(weights: WeightDType): WeightDType;
  /** Bytes of memory that are free and that there are. */
  memoryInfo(): { readonly free: number; readonly total: number };
  /** Makes a landing place for results of up to `byteLength` bytes. */
  readback(byteLength: number): Readback;
  /** Waits for pending work, under the device's deadline. */
  synchronize(): void;
  /**
   * Records the kernels (and communication) that `run` calls for {@linkcode Recording.replay}, without
   * running them: a CUDA graph; on CPU the function itself. `run` allocates, uploads and reads nothing.
   */
  record(run: () => void): Recording;
}
