/**
 * What tests ask of the emulator itself, beside the functions that it emulates.
 * @module
 */

const SYMBOLS = {
  // size_t weft_emulator_take_misuses(char* text, size_t capacity)
  weft_emulator_take_misuses: { parameters: ["buffer", "usize"], result: "usize" },
  // size_t weft_emulator_check_leaks(char* text, size_t capacity)
  weft_emulator_check_leaks: { parameters: ["buffer", "usize"], result: "usize" },
  // void weft_emulator_describe_fault(char* text, size_t capacity)
  weft_emulator_describe_fault: { parameters: ["buffer", "usize"], result: "void" },
  // int weft_emulator_inject_failures(const char* text)
  weft_emulator_inject_failures: { parameters: ["buffer"], result: "i32" },
  // void weft_emulator_reset(void)
  weft_emulator_reset: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

const TEXT_BYTES = 1 << 16;

/** The emulator that this process has loaded. */
export class EmulatorControls implements Disposable {
  /** The emulated libcudart. */
  readonly path: string;
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;

  /** `path` is the emulated libcudart. */
  constructor(path: string) {
    this.path = path;
    this.#library = Deno.dlopen(path, SYMBOLS);
  }

  /** What was misused since the last call, one line each. */
  takeMisuses(): string[] {
    const text = new Uint8Array(TEXT_BYTES);
    const length = this.#library.symbols.weft_emulator_take_misuses(text, BigInt(text.length));
    return lines(text.subarray(0, Number(length)));
  }

  /** What is not freed, one line each. */
  leaks(): string[] {
    const text = new Uint8Array(TEXT_BYTES);
    this.#library.symbols.weft_emulator_check_leaks(text, BigInt(text.length));
    return lines(text.subarray(0, text.indexOf(0)));
  }

  /** What a kernel did wrong, with kernel, block, thread and place; empty when none has. */
  fault(): string {
    const text = new Uint8Array(TEXT_BYTES);
    this.#library.symbols.weft_emulator_describe_fault(text, BigInt(text.length));
    return new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
  }

  /** Asks for failures, such as `allocation=3,launch=10@1`; README.md names them. Counts anew. */
  injectFailures(failures: string): void {
    const text = new TextEncoder().encode(`${failures}\0`);
    if (this.#library.symbols.weft_emulator_inject_failures(text) !== 0) {
      throw new RangeError(`Cannot read the failures to inject: ${failures}`);
    }
  }

  /** Frees everything and forgets faults, work and the failures that were asked for. */
  reset(): void {
    this.#library.symbols.weft_emulator_reset();
    this.injectFailures("");
    this.takeMisuses();
  }

  /** Closes the library, which stays loaded. */
  [Symbol.dispose](): void {
    this.#library.close();
  }
}

function lines(text: Uint8Array): string[] {
  return new TextDecoder().decode(text).split("\n").filter((line) => line !== "");
}
