/**
 * NVRTC: compiles CUDA C++ at run time.
 * @module
 */
import { decodeCString, encodeCString, encodeCStrings } from "./c_declarations.ts";
import {
  type LibraryDescription,
  type LibraryVersion,
  type OpenLibrary,
  openLibrary,
  type OpenLibraryOptions,
} from "./library.ts";
import { NativeError } from "./native_error.ts";
import type { NativeSource } from "./sources.ts";

/** FFI table of libnvrtc; programs are `usize`. */
export const NVRTC_SYMBOLS = {
  // nvrtcResult nvrtcVersion(int* major, int* minor)
  nvrtcVersion: { parameters: ["buffer", "buffer"], result: "i32" },
  // const char* nvrtcGetErrorString(nvrtcResult result)
  nvrtcGetErrorString: { parameters: ["i32"], result: "usize" },
  // nvrtcResult nvrtcGetNumSupportedArchs(int* numArchs)
  nvrtcGetNumSupportedArchs: { parameters: ["buffer"], result: "i32" },
  // nvrtcResult nvrtcGetSupportedArchs(int* supportedArchs)
  nvrtcGetSupportedArchs: { parameters: ["buffer"], result: "i32" },
  // nvrtcResult nvrtcCreateProgram(nvrtcProgram* prog, const char* src, const char* name,
  //   int numHeaders, const char* const* headers, const char* const* includeNames)
  nvrtcCreateProgram: {
    parameters: ["buffer", "buffer", "buffer", "i32", "buffer", "buffer"],
    result: "i32",
  },
  // nvrtcResult nvrtcDestroyProgram(nvrtcProgram* prog)
  nvrtcDestroyProgram: { parameters: ["buffer"], result: "i32" },
  // nvrtcResult nvrtcCompileProgram(nvrtcProgram prog, int numOptions, const char* const* options)
  nvrtcCompileProgram: { parameters: ["usize", "i32", "buffer"], result: "i32" },
  // nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram prog, size_t* logSizeRet)
  nvrtcGetProgramLogSize: { parameters: ["usize", "buffer"], result: "i32" },
  // nvrtcResult nvrtcGetProgramLog(nvrtcProgram prog, char* log)
  nvrtcGetProgramLog: { parameters: ["usize", "buffer"], result: "i32" },
  // nvrtcResult nvrtcGetCUBINSize(nvrtcProgram prog, size_t* cubinSizeRet)
  nvrtcGetCUBINSize: { parameters: ["usize", "buffer"], result: "i32" },
  // nvrtcResult nvrtcGetCUBIN(nvrtcProgram prog, char* cubin)
  nvrtcGetCUBIN: { parameters: ["usize", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Where libnvrtc is found. */
const NVRTC: LibraryDescription<Pick<typeof NVRTC_SYMBOLS, "nvrtcVersion">> = {
  name: "nvrtc",
  variable: "WEFT_NVRTC_PATH",
  sonames: ["libnvrtc.so.13", "libnvrtc.so.12"],
  wheels: ["cu13", "cuda_nvrtc"],
  install: "pip install nvidia-cuda-nvrtc",
  minimum: [12, 9, 0],
  // NVRTC asks the loader for it by name, which does not look into the folders of wheels.
  companion: { stem: "libnvrtc-builtins" },
  versionSymbols: { nvrtcVersion: NVRTC_SYMBOLS.nvrtcVersion },
  readVersion({ nvrtcVersion }) {
    const major = new Int32Array(1);
    const minor = new Int32Array(1);
    const status = nvrtcVersion(major, minor);
    if (status !== 0) throw new Error(`it gave no version: status ${status}`);
    return [major[0], minor[0], 0];
  },
};

/** A program to compile. */
export interface NvrtcProgram {
  /** Its text. */
  readonly source: string;
  /** Name of the text in messages. */
  readonly name: string;
  /** Files that it can include. */
  readonly headers: readonly NativeSource[];
  /** Options of the compiler. */
  readonly options: readonly string[];
}

/** A program that was compiled. */
export interface NvrtcOutput {
  /** Machine code for the architecture of the options. */
  readonly cubin: Uint8Array<ArrayBuffer>;
  /** What the compiler said: warnings, and what the options ask for. */
  readonly log: string;
}

/** Opens libnvrtc; throws LibraryError. Needs no GPU and no driver. */
export function openNvrtc(options: OpenLibraryOptions = {}): Nvrtc {
  return new Nvrtc(openLibrary(NVRTC, NVRTC_SYMBOLS, options));
}

/** The open NVRTC. Every method throws NativeError when the C function fails. */
export class Nvrtc implements Disposable {
  /** The C functions. */
  readonly symbols: Deno.DynamicLibrary<typeof NVRTC_SYMBOLS>["symbols"];
  /** File that was opened. */
  readonly path: string;
  /** Version of the library. */
  readonly version: LibraryVersion;
  readonly #library: OpenLibrary<typeof NVRTC_SYMBOLS>;

  /** Made by {@linkcode openNvrtc}. */
  constructor(library: OpenLibrary<typeof NVRTC_SYMBOLS>) {
    this.#library = library;
    this.symbols = library.symbols;
    this.path = library.path;
    this.version = library.version;
  }

  /** Throws NativeError when `status`, which `functionName` has returned, is a failure. */
  check(status: number, functionName: string, log = ""): void {
    if (status === 0) return;
    const text = decodeCString(this.symbols.nvrtcGetErrorString(status));
    const explanation = log === "" ? text : `${text}\n${log}`;
    throw new NativeError({ library: "nvrtc", function: functionName, status, explanation });
  }

  /** Architectures that it compiles for: 90 is sm_90. */
  supportedArchitectures(): number[] {
    const count = new Int32Array(1);
    this.check(this.symbols.nvrtcGetNumSupportedArchs(count), "nvrtcGetNumSupportedArchs");
    const architectures = new Int32Array(count[0]);
    this.check(this.symbols.nvrtcGetSupportedArchs(architectures), "nvrtcGetSupportedArchs");
    return [...architectures];
  }

  /** Compiles a program to machine code; the error holds what the compiler said. Takes seconds. */
  compile({ source, name, headers, options }: NvrtcProgram): NvrtcOutput {
    const program = new BigUint64Array(1);
    const created = this.symbols.nvrtcCreateProgram(
      program,
      encodeCString(source),
      encodeCString(name),
      headers.length,
      encodeCStrings(headers.map(({ text }) => text)),
      encodeCStrings(headers.map(({ name }) => name)),
    );
    this.check(created, "nvrtcCreateProgram");
    try {
      const status = this.symbols.nvrtcCompileProgram(
        program[0],
        options.length,
        encodeCStrings(options),
      );
      const log = this.#log(program[0]);
      this.check(status, "nvrtcCompileProgram", log);
      return { cubin: this.#cubin(program[0]), log };
    } finally {
      this.check(this.symbols.nvrtcDestroyProgram(program), "nvrtcDestroyProgram");
    }
  }

  #log(program: bigint): string {
    const size = new BigUint64Array(1);
    this.check(this.symbols.nvrtcGetProgramLogSize(program, size), "nvrtcGetProgramLogSize");
    const bytes = new Uint8Array(Number(size[0]));
    this.check(this.symbols.nvrtcGetProgramLog(program, bytes), "nvrtcGetProgramLog");
    // The assembler's part of the log ends with a zero of its own.
    return new TextDecoder().decode(bytes).replaceAll("\0", "").trim();
  }

  #cubin(program: bigint): Uint8Array<ArrayBuffer> {
    const size = new BigUint64Array(1);
    this.check(this.symbols.nvrtcGetCUBINSize(program, size), "nvrtcGetCUBINSize");
    const bytes = new Uint8Array(Number(size[0]));
    this.check(this.symbols.nvrtcGetCUBIN(program, bytes), "nvrtcGetCUBIN");
    return bytes;
  }

  /** Closes the library. */
  close(): void {
    this.#library.close();
  }

  /** Closes the library. */
  [Symbol.dispose](): void {
    this.close();
  }
}
