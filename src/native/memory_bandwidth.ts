/**
 * Measures how fast this machine reads memory.
 * @module
 */
import type { LibrarySymbols } from "./library_symbols.ts";
import { nativeLibraryPath } from "./native_library.ts";
import { createWasmMemory, WasmLibrary } from "./wasm_library.ts";

const SYMBOLS = {
  // double weft_read_bandwidth(int32_t mebibytes, int32_t threads, int32_t repetitions)
  weft_read_bandwidth: { parameters: ["i32", "i32", "i32"], result: "f64" },
} as const satisfies Deno.ForeignLibraryInterface;

const MAX_THREADS = 1024;
const MAX_MEBIBYTES = 64 * 1024;

/** Options of {@linkcode measureReadBandwidth}. */
export interface BandwidthOptions {
  /** Threads that read together, up to 1024. */
  readonly threads: number;
  /** MiB that are read; many times the caches. Default 512. */
  readonly mebibytes?: number;
  /** Whether WebAssembly reads, in a memory of its own. Default: compiled code does. */
  readonly wasm?: boolean;
  /** Reads, of which the fastest counts. Default 5. */
  readonly repetitions?: number;
}

/**
 * Bytes a second that `threads` threads read from memory together. Takes part of a second and holds
 * the calling thread. Throws RangeError for options out of range, Error when memory is short.
 */
export function measureReadBandwidth(options: BandwidthOptions): number {
  const { threads, mebibytes = 512, repetitions = 5 } = options;
  check("threads", threads, MAX_THREADS);
  check("mebibytes", mebibytes, MAX_MEBIBYTES);
  check("repetitions", repetitions, 1000);
  const { symbols, close } = open(options.wasm ?? false);
  try {
    const rate = symbols.weft_read_bandwidth(mebibytes, threads, repetitions);
    if (rate > 0) return rate;
    throw new Error(`Cannot measure memory bandwidth over ${mebibytes} MiB: errno is ${-rate}`);
  } finally {
    close();
  }
}

function open(wasm: boolean): { symbols: LibrarySymbols<typeof SYMBOLS>; close(): void } {
  if (wasm) {
    return { symbols: new WasmLibrary(createWasmMemory()).bind(SYMBOLS), close() {} };
  }
  const library = Deno.dlopen(nativeLibraryPath(), SYMBOLS);
  return { symbols: library.symbols, close: () => library.close() };
}

function check(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new RangeError(
      `Cannot measure memory bandwidth as ${name} must lie between 1 and ${max}: current value is ${value}`,
    );
  }
}
