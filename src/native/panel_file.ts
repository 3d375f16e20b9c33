/**
 * Files in memory that hold packed weights: written by one process, then sealed and read by others.
 * @module
 */
import { encodeCString } from "./c_declarations.ts";
import { systemError } from "./mapped_regions.ts";
import { nativeLibraryPath } from "./native_library.ts";

const SYMBOLS = {
  // int32_t weft_panels_create(void)
  weft_panels_create: { parameters: [], result: "i32" },
  // int32_t weft_panels_open(const char* path)
  weft_panels_open: { parameters: ["buffer"], result: "i32" },
  // int64_t weft_panels_reserve(uint64_t bytes)
  weft_panels_reserve: { parameters: ["u64"], result: "i64" },
  // int64_t weft_panels_extend(int32_t fd, char* memory, uint64_t begin, uint64_t end)
  weft_panels_extend: { parameters: ["i32", "usize", "u64", "u64"], result: "i64" },
  // int64_t weft_panels_map(int32_t fd, uint64_t bytes)
  weft_panels_map: { parameters: ["i32", "u64"], result: "i64" },
  // int32_t weft_panels_seal(int32_t fd, void* memory, uint64_t bytes)
  weft_panels_seal: { parameters: ["i32", "usize", "u64"], result: "i32" },
  // int32_t weft_panels_sealed(int32_t fd)
  weft_panels_sealed: { parameters: ["i32"], result: "i32" },
  // void weft_unmap_panels(void* memory, uint64_t bytes)
  weft_unmap_panels: { parameters: ["usize", "u64"], result: "void" },
  // int32_t weft_shared_close(int32_t fd)
  weft_shared_close: { parameters: ["i32"], result: "i32" },
  // void weft_errno_message(int32_t number, char* message, uint64_t byte_length)
  weft_errno_message: { parameters: ["i32", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type PanelFunctions = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Pages that a processor finds with one entry of its table. */
const HUGE_PAGE = 2 * 1024 * 1024;

/** Makes and opens files of packed weights; to be disposed after them. */
export class PanelFiles implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;

  /** Opens the native library; throws as `nativeLibraryPath` does. */
  constructor() {
    this.#library = Deno.dlopen(nativeLibraryPath(), SYMBOLS);
  }

  /** An empty file, for up to `capacity` bytes; throws Error with the system's reason. */
  create(capacity: number): PanelFile {
    const { symbols } = this.#library;
    const descriptor = symbols.weft_panels_create();
    if (descriptor < 0) throw systemError(symbols, "Cannot create a file in memory", descriptor);
    const file = new PanelFile(symbols, descriptor);
    try {
      file.reserve(capacity);
      return file;
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** The file at another's {@linkcode PanelFile.path}; null when it is not there any more. */
  open(path: string): PanelFile | null {
    const { symbols } = this.#library;
    const descriptor = symbols.weft_panels_open(encodeCString(path));
    return descriptor < 0 ? null : new PanelFile(symbols, descriptor);
  }

  /** Closes the native library. */
  [Symbol.dispose](): void {
    this.#library.close();
  }
}

/** A file of packed weights, mapped once: for writing where it was made, else for reading. */
export class PanelFile implements Disposable {
  /** Where processes of the same user can open it. */
  readonly path: string;
  readonly #symbols: PanelFunctions;
  readonly #descriptor: number;
  #address = 0n;
  /** Bytes that are mapped, or set aside to be. */
  #mapped = 0;
  #byteLength = 0;
  #disposed = false;

  /** Made by {@linkcode PanelFiles}. */
  constructor(symbols: PanelFunctions, descriptor: number) {
    this.#symbols = symbols;
    this.#descriptor = descriptor;
    this.path = `/proc/${Deno.pid}/fd/${descriptor}`;
  }

  /** Address of the first byte. */
  get address(): bigint {
    return this.#address;
  }

  /** Bytes that can be used. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Whether it is complete and can no longer change. */
  get isSealed(): boolean {
    return this.#symbols.weft_panels_sealed(this.#descriptor) === 1;
  }

  /** Sets addresses aside for `capacity` bytes; throws Error with the system's reason. */
  reserve(capacity: number): void {
    const bytes = wholePages(capacity);
    this.#map(this.#symbols.weft_panels_reserve(BigInt(bytes)), bytes);
  }

  /**
   * Makes room for at least `byteLength` bytes, of zeros where there were none. Returns whether the new
   * ones lie in huge pages, some at least. Throws Error with the system's reason, RangeError above the capacity.
   */
  extend(byteLength: number): boolean {
    const end = wholePages(byteLength);
    if (end <= this.#byteLength) return true;
    if (end > this.#mapped) {
      throw new RangeError(
        `Cannot hold ${byteLength} bytes of packed weights: the capacity is ${this.#mapped}`,
      );
    }
    const [begin, limit] = [BigInt(this.#byteLength), BigInt(end)];
    const huge = this.#symbols.weft_panels_extend(this.#descriptor, this.#address, begin, limit);
    if (huge < 0n) throw this.#error(`Cannot hold ${byteLength} bytes of packed weights`, huge);
    this.#byteLength = end;
    return huge > 0n;
  }

  /** Maps the first `byteLength` bytes for reading; throws Error with the system's reason. */
  map(byteLength: number): void {
    const bytes = wholePages(byteLength);
    this.#map(this.#symbols.weft_panels_map(this.#descriptor, BigInt(bytes)), bytes);
    this.#byteLength = bytes;
  }

  /** Nobody can change the file from here on; throws Error with the system's reason. */
  seal(): void {
    const bytes = BigInt(this.#byteLength);
    const status = this.#symbols.weft_panels_seal(this.#descriptor, this.#address, bytes);
    if (status < 0) throw this.#error("Cannot seal packed weights", status);
  }

  #map(address: bigint, bytes: number): void {
    if (address < 0n) throw this.#error(`Cannot map ${bytes} bytes of packed weights`, address);
    this.#address = address;
    this.#mapped = bytes;
  }

  #error(message: string, status: number | bigint): Error {
    return systemError(this.#symbols, message, status);
  }

  /** Unmaps the file here and closes it; others keep their mappings. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#mapped > 0) this.#symbols.weft_unmap_panels(this.#address, BigInt(this.#mapped));
    this.#symbols.weft_shared_close(this.#descriptor);
  }
}

/** `bytes`, rounded up to whole huge pages. */
export function wholePages(bytes: number): number {
  return Math.ceil(bytes / HUGE_PAGE) * HUGE_PAGE;
}
