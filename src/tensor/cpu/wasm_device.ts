/**
 * The CPU as a device where there is no C compiler: the same kernels, compiled to WebAssembly.
 * @module
 */
import { createWasmMemory, WasmLibrary } from "../../native/wasm_library.ts";
import { checkThreads, CPU_SYMBOLS, openCpuKernels } from "./device.ts";
import type { Device } from "../device.ts";
import { copiedWeights } from "./wasm_weights.ts";

/** Options of {@linkcode openWasmDevice}. */
export interface WasmDeviceOptions {
  /** Threads a kernel runs on, the calling one included. Default: one for each logical processor. */
  readonly threads?: number;
  /** Memory that it shares with others; one of its own when left out. */
  readonly memory?: WebAssembly.Memory;
}

/**
 * Opens the CPU device on the WebAssembly build of its kernels: the bits are those of the native sets in
 * every format that is not tied to one. Addresses are offsets into the memory, which holds 4 GiB at most;
 * weights are copied into it. Threads are workers, which join when they have started. Throws Error when
 * the engine cannot run the kernels.
 */
export function openWasmDevice(options: WasmDeviceOptions = {}): Device {
  const threads = checkThreads(options.threads);
  const library = new WasmLibrary(options.memory ?? createWasmMemory());
  return openCpuKernels({
    kernels: {
      ...library.bind(CPU_SYMBOLS),
      // Straight between the two memories, where the general way would take a third.
      weft_upload: (destination, source, bytes) =>
        library.bytes(destination, Number(bytes)).set(source as Uint8Array<ArrayBuffer>),
      weft_download: (destination, source, bytes) =>
        (destination as Uint8Array<ArrayBuffer>).set(library.bytes(source, Number(bytes))),
    },
    threads,
    name: `${Deno.build.arch} processor through WebAssembly`,
    instructionSet: library.text("weft_instruction_set"),
    instructionSetReason: "WebAssembly has one",
    kernelHash: library.text("weft_kernel_hash"),
    hostWeights: copiedWeights,
    close() {},
  });
}
