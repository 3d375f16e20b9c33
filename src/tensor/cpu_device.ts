/**
 * The CPU as a device: kernels in C on a thread pool.
 * @module
 */
import { nativeLibraryHash, processorName } from "../native/compile.ts";
import { type CpuKernels, instructionSetOf, openCpuKernels } from "../native/cpu_kernels.ts";
import { CpuAttention } from "./cpu_attention.ts";
import type { CpuContext } from "./cpu_context.ts";
import { CpuExperts } from "./cpu_experts.ts";
import { CpuLayerKernels } from "./cpu_layer_kernels.ts";
import { CpuLinearWeight, weightFormat } from "./cpu_linear_weight.ts";
import { CpuMemory } from "./cpu_memory.ts";
import { CpuSampling } from "./cpu_sampling.ts";
import type {
  Device,
  DeviceDescription,
  HostMatrix,
  HostVector,
  KvCacheLayer,
  LinearWeight,
  Recording,
} from "./device.ts";
import type { WeightDType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/** Most threads of one device. */
const MAX_THREADS = 1024;

/** Options of {@linkcode CpuDevice}. */
export interface CpuDeviceOptions {
  /** Threads a kernel runs on, the calling one included. Default: one for each logical processor. */
  readonly threads?: number;
  /** Path of another build of the native library; compiled for this machine when left out. */
  readonly libraryPath?: string;
}

/**
 * The CPU device. Results are the same bits for any number of threads. Used by one thread at a time;
 * disposing it stops its threads and frees its memory.
 */
export class CpuDevice implements Device {
  readonly kind = "cpu";
  readonly description: DeviceDescription;
  readonly #library: CpuKernels;
  readonly #context: CpuContext;
  readonly #layers: CpuLayerKernels;
  readonly #attention: CpuAttention;
  readonly #experts: CpuExperts;
  readonly #sampling: CpuSampling;
  #disposed = false;

  /** Opens the kernels (compiling them at first use) and starts the threads. */
  constructor(options: CpuDeviceOptions = {}) {
    const { threads = navigator.hardwareConcurrency } = options;
    if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
      throw new RangeError(
        `Cannot open the CPU device as threads must be from 1 to ${MAX_THREADS}: current value is ${threads}`,
      );
    }
    this.#library = openCpuKernels(options.libraryPath);
    const library = this.#library.symbols;
    const pool = library.weft_pool_create(threads);
    if (pool === 0n) {
      this.#library.close();
      throw new Error(`Cannot open the CPU device as ${threads} threads could not be started`);
    }
    this.#context = { kernels: library, memory: new CpuMemory(library), pool };
    this.#layers = new CpuLayerKernels(this.#context);
    this.#attention = new CpuAttention(this, this.#context);
    this.#experts = new CpuExperts(this.#context);
    this.#sampling = new CpuSampling(this.#context);
    this.description = {
      kind: "cpu",
      name: processorName(),
      instructionSet: instructionSetOf(this.#library),
      threads,
      kernelHash: nativeLibraryHash(),
    };
  }

  /** See {@linkcode Device.allocate}. */
  allocate(byteLength: number): bigint {
    return this.#context.memory.allocate(byteLength);
  }

  /** See {@linkcode Device.free}; does nothing after the device was disposed. */
  free(address: bigint): void {
    this.#context.memory.free(address);
  }

  /** See {@linkcode Device.upload}. */
  upload(destination: bigint, source: ArrayBufferView): void {
    this.#context.memory.upload(destination, source);
  }

  /** See {@linkcode Device.download}. */
  download(destination: ArrayBufferView, source: bigint): void {
    this.#context.memory.download(destination, source);
  }

  /** See {@linkcode Device.copy}. */
  copy(destination: bigint, source: bigint, byteLength: number): void {
    this.#context.memory.copy(destination, source, byteLength);
  }

  /** Returns at once: kernels have finished when their call returns. */
  synchronize(): void {}

  /** Keeps `run`, which each replay calls: on the CPU a recording saves nothing and runs nothing. */
  record(run: () => void): Recording {
    return { replay: run, [Symbol.dispose]() {} };
  }

  /** See {@linkcode Device.linearWeight}; mapped parts must outlive the weight. */
  linearWeight(parts: readonly HostMatrix[], format: WeightDType): LinearWeight {
    return CpuLinearWeight.from(this.#context, parts, format);
  }

  /** See {@linkcode Device.vector}. */
  vector(source: HostVector): Tensor {
    const { address, dtype, length } = source;
    const format = weightFormat(dtype);
    const tensor = Tensor.allocate(this, { shape: [length] });
    const { kernels, pool } = this.#context;
    kernels.weft_convert_matrix(pool, tensor.address, 0, address, format, 1, length, length, 1);
    return tensor;
  }

  /** See {@linkcode Device.kvCache}. */
  kvCache(...call: Parameters<Device["kvCache"]>): KvCacheLayer {
    return this.#attention.kvCache(...call);
  }

  /** See {@linkcode Device.embedding}. */
  embedding(...call: Parameters<Device["embedding"]>): void {
    this.#layers.embedding(...call);
  }

  /** See {@linkcode Device.rmsNorm}. */
  rmsNorm(...call: Parameters<Device["rmsNorm"]>): void {
    this.#layers.rmsNorm(...call);
  }

  /** See {@linkcode Device.headRmsNorm}. */
  headRmsNorm(...call: Parameters<Device["headRmsNorm"]>): void {
    this.#layers.headRmsNorm(...call);
  }

  /** See {@linkcode Device.layerNorm}. */
  layerNorm(...call: Parameters<Device["layerNorm"]>): void {
    this.#layers.layerNorm(...call);
  }

  /** See {@linkcode Device.linear}. */
  linear(...call: Parameters<Device["linear"]>): void {
    this.#layers.linear(...call);
  }

  /** See {@linkcode Device.rope}. */
  rope(...call: Parameters<Device["rope"]>): void {
    this.#layers.rope(...call);
  }

  /** See {@linkcode Device.siluAndMul}. */
  siluAndMul(...call: Parameters<Device["siluAndMul"]>): void {
    this.#layers.siluAndMul(...call);
  }

  /** See {@linkcode Device.gelu}. */
  gelu(...call: Parameters<Device["gelu"]>): void {
    this.#layers.gelu(...call);
  }

  /** See {@linkcode Device.add}. */
  add(...call: Parameters<Device["add"]>): void {
    this.#layers.add(...call);
  }

  /** See {@linkcode Device.addBias}. */
  addBias(...call: Parameters<Device["addBias"]>): void {
    this.#layers.addBias(...call);
  }

  /** See {@linkcode Device.gatherRows}. */
  gatherRows(...call: Parameters<Device["gatherRows"]>): void {
    this.#layers.gatherRows(...call);
  }

  /** See {@linkcode Device.softmax}. */
  softmax(...call: Parameters<Device["softmax"]>): void {
    this.#layers.softmax(...call);
  }

  /** See {@linkcode Device.writeKvCache}. */
  writeKvCache(...call: Parameters<Device["writeKvCache"]>): void {
    this.#attention.writeKvCache(...call);
  }

  /** See {@linkcode Device.pagedAttention}. */
  pagedAttention(...call: Parameters<Device["pagedAttention"]>): void {
    this.#attention.pagedAttention(...call);
  }

  /** See {@linkcode Device.routeExperts}. */
  routeExperts(...call: Parameters<Device["routeExperts"]>): void {
    this.#experts.routeExperts(...call);
  }

  /** See {@linkcode Device.sortByExpert}. */
  sortByExpert(...call: Parameters<Device["sortByExpert"]>): void {
    this.#experts.sortByExpert(...call);
  }

  /** See {@linkcode Device.groupedLinear}. */
  groupedLinear(...call: Parameters<Device["groupedLinear"]>): void {
    this.#experts.groupedLinear(...call);
  }

  /** See {@linkcode Device.combineExperts}. */
  combineExperts(...call: Parameters<Device["combineExperts"]>): void {
    this.#experts.combineExperts(...call);
  }

  /** See {@linkcode Device.topK}. */
  topK(...call: Parameters<Device["topK"]>): void {
    this.#sampling.topK(...call);
  }

  /** See {@linkcode Device.logSumExp}. */
  logSumExp(...call: Parameters<Device["logSumExp"]>): void {
    this.#sampling.logSumExp(...call);
  }

  /** See {@linkcode Device.mergeLogSumExp}. */
  mergeLogSumExp(...call: Parameters<Device["mergeLogSumExp"]>): void {
    this.#sampling.mergeLogSumExp(...call);
  }

  /** See {@linkcode Device.logitHistogram}. */
  logitHistogram(...call: Parameters<Device["logitHistogram"]>): void {
    this.#sampling.logitHistogram(...call);
  }

  /** See {@linkcode Device.gumbelArgmax}. */
  gumbelArgmax(...call: Parameters<Device["gumbelArgmax"]>): void {
    this.#sampling.gumbelArgmax(...call);
  }

  /** See {@linkcode Device.gatherLogits}. */
  gatherLogits(...call: Parameters<Device["gatherLogits"]>): void {
    this.#sampling.gatherLogits(...call);
  }

  /** Stops the threads, frees what is still allocated and closes the library. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#attention[Symbol.dispose]();
    this.#context.memory[Symbol.dispose]();
    this.#library.symbols.weft_pool_destroy(this.#context.pool);
    this.#library.close();
  }
}
