/**
 * The CPU as a device: kernels in C on a thread pool.
 * @module
 */
import { ENABLE_SYMBOLS, nativeLibrary } from "../../native/native_library.ts";
import { readProcessor } from "../../native/processor.ts";
import { CPU_ATTENTION_SYMBOLS, cpuAttentionKernels } from "./attention_kernels.ts";
import { CPU_ELEMENTWISE_SYMBOLS, cpuElementwiseKernels } from "./elementwise_kernels.ts";
import { CPU_EXPERT_SYMBOLS, cpuExpertKernels } from "./expert_kernels.ts";
import { CPU_LINEAR_SYMBOLS, cpuLinearKernels } from "./linear_kernels.ts";
import { CPU_MEMORY_SYMBOLS, CpuMemory } from "./memory.ts";
import { CPU_NORM_SYMBOLS, cpuNormKernels } from "./norm_kernels.ts";
import type { SharedPanels } from "./panel_memory.ts";
import { CPU_SAMPLING_SYMBOLS, cpuSamplingKernels } from "./sampling_kernels.ts";
import { TokenScratch } from "./token_scratch.ts";
import { checkedAttentionKernels } from "../attention_arguments.ts";
import type { Device, DeviceDescription, Readback } from "../device.ts";
import { checkedElementwiseKernels } from "../elementwise_kernels.ts";
import { checkedExpertKernels } from "../expert_kernels.ts";
import { checkedLinearKernels, type LinearKernels } from "../linear_kernels.ts";
import { checkedNormKernels } from "../norm_kernels.ts";
import { checkedSamplingKernels } from "../sampling_arguments.ts";

/** Most threads of one device. */
const MAX_THREADS = 1024;

/** Every function of the kernels, each under its C declaration. */
export const CPU_SYMBOLS = {
  ...ENABLE_SYMBOLS,
  // const char* weft_instruction_set(void)
  weft_instruction_set: { parameters: [], result: "pointer" },
  // const char* weft_kernel_hash(void)
  weft_kernel_hash: { parameters: [], result: "pointer" },
  // weft_pool* weft_pool_create(int threads)
  weft_pool_create: { parameters: ["i32"], result: "usize" },
  // void weft_pool_destroy(weft_pool* pool)
  weft_pool_destroy: { parameters: ["usize"], result: "void" },
  ...CPU_MEMORY_SYMBOLS,
  ...CPU_LINEAR_SYMBOLS,
  ...CPU_NORM_SYMBOLS,
  ...CPU_ELEMENTWISE_SYMBOLS,
  ...CPU_ATTENTION_SYMBOLS,
  ...CPU_EXPERT_SYMBOLS,
  ...CPU_SAMPLING_SYMBOLS,
} as const satisfies Deno.ForeignLibraryInterface;

/** Options of {@linkcode openCpuDevice}. */
export interface CpuDeviceOptions {
  /** Threads a kernel runs on, the calling one included. Default: one for each logical processor. */
  readonly threads?: number;
  /** Path of another build of the native library; compiled for this machine when left out. */
  readonly libraryPath?: string;
  /** Takes packed weights that replicas share; to be disposed after the device. */
  readonly sharedPanels?: SharedPanels;
}

/**
 * Opens the CPU device: opens the kernels (compiling them at first use) and starts the threads.
 * Results are the same bits for any number of threads. Used by one thread at a time; disposing it
 * stops its threads and frees its memory.
 */
export function openCpuDevice(options: CpuDeviceOptions = {}): Device {
  const threads = checkThreads(options.threads);
  const { path, reason } = libraryOf(options);
  const library = Deno.dlopen(path, CPU_SYMBOLS);
  const kernels = library.symbols;
  const status = kernels.weft_enable_instruction_set();
  if (status !== 0) {
    library.close();
    throw new Error(
      `Cannot open the CPU device as the system refuses its instruction set: errno is ${-status}`,
    );
  }
  return openCpuKernels({
    kernels,
    threads,
    name: readProcessor().name,
    instructionSet: Deno.UnsafePointerView.getCString(kernels.weft_instruction_set()!),
    instructionSetReason: reason,
    kernelHash: Deno.UnsafePointerView.getCString(kernels.weft_kernel_hash()!),
    sharedPanels: options.sharedPanels,
    close: () => library.close(),
  });
}

/** The kernels of one build of the C sources, and what it is. */
export interface CpuKernels extends Omit<DeviceDescription, "kind"> {
  /** Its functions. */
  readonly kernels: Deno.DynamicLibrary<typeof CPU_SYMBOLS>["symbols"];
  /** See {@linkcode CpuDeviceOptions.sharedPanels}. */
  readonly sharedPanels?: SharedPanels;
  /** Weights from host memory, where kernels cannot read it. */
  readonly hostWeights?: (kernels: LinearKernels, memory: CpuMemory) => LinearKernels;
  /** Frees the build, after everything that was made with it. */
  close(): void;
}

/** The device over a build of the kernels, which it closes in the end. */
export function openCpuKernels(library: CpuKernels): Device {
  const { kernels, threads, name, instructionSet, instructionSetReason, kernelHash } = library;
  const { hostWeights = (linear) => linear } = library;
  const pool = kernels.weft_pool_create(threads);
  if (pool === 0n) {
    library.close();
    throw new Error(`Cannot open the CPU device as ${threads} threads could not be started`);
  }
  const memory = new CpuMemory(kernels, library.sharedPanels);
  const context = { kernels, memory, pool, scratch: new TokenScratch(memory) };
  const elementwise = cpuElementwiseKernels(context);
  let disposed = false;

  return {
    kind: "cpu",
    // A replay would cost what the calls do.
    canRecord: false,
    description: { kind: "cpu", name, instructionSet, instructionSetReason, threads, kernelHash },

    allocate: (byteLength) => memory.allocate(byteLength),
    free: (address) => memory.free(address),
    upload: (destination, source) => memory.upload(destination, source),
    download: (destination, source) => memory.download(destination, source),
    copy: (destination, source, byteLength) => memory.copy(destination, source, byteLength),

    activationDtype: () => "f32",
    memoryInfo() {
      const { available, total } = Deno.systemMemoryInfo();
      return { free: available, total };
    },
    readback: (byteLength) => cpuReadback(memory, byteLength),
    // Kernels have finished when their call returns.
    synchronize() {},
    // On the CPU a recording saves nothing: each replay calls the function.
    record: (run) => ({ replay: run, [Symbol.dispose]() {} }),

    ...checkedLinearKernels(hostWeights(cpuLinearKernels(context), memory)),
    ...checkedNormKernels(cpuNormKernels(context)),
    ...checkedElementwiseKernels(elementwise),
    ...checkedAttentionKernels(cpuAttentionKernels(context)),
    ...checkedExpertKernels(cpuExpertKernels(context)),
    ...checkedSamplingKernels(cpuSamplingKernels(context)),

    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      memory[Symbol.dispose]();
      kernels.weft_pool_destroy(pool);
      library.close();
    },
  };
}

/** `threads`, or one for each logical processor; throws RangeError when it is no number of threads. */
export function checkThreads(threads: number = navigator.hardwareConcurrency): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new RangeError(
    `Cannot open the CPU device as threads must be from 1 to ${MAX_THREADS}: current value is ${threads}`,
  );
}

function libraryOf({ libraryPath }: CpuDeviceOptions): { path: string; reason: string } {
  if (libraryPath !== undefined) return { path: libraryPath, reason: "that of the library given" };
  const { path, instructionSet } = nativeLibrary();
  return { path, reason: instructionSet.reason };
}

/** Results are there when the kernels' calls have returned. */
function cpuReadback(memory: CpuMemory, byteLength: number): Readback {
  const bytes = new Uint8Array(byteLength);
  let landed = bytes;
  return {
    start(source, byteLength) {
      if (byteLength > bytes.length) {
        throw new RangeError(
          `Cannot read back ${byteLength} bytes as there is room for ${bytes.length}`,
        );
      }
      if (landed.length !== byteLength) landed = bytes.subarray(0, byteLength);
      memory.download(landed, source);
    },
    isReady: () => true,
    read: () => landed,
    [Symbol.dispose]() {},
  };
}
