/**
 * Files mapped read-only into memory.
 * @module
 */
import { nativeLibraryPath } from "./native_library.ts";

const SYMBOLS = {
  // int64_t weft_map_file(const char* path, uint64_t* byte_length)
  weft_map_file: { parameters: ["buffer", "buffer"], result: "i64" },
  // int32_t weft_unmap_file(uint64_t address, uint64_t byte_length)
  weft_unmap_file: { parameters: ["usize", "usize"], result: "i32" },
  // void weft_release_file(uint64_t address, uint64_t byte_length)
  weft_release_file: { parameters: ["usize", "usize"], result: "void" },
  // void weft_errno_message(int32_t number, char* message, uint64_t byte_length)
  weft_errno_message: { parameters: ["i32", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Maps files. Holds the native library open: dispose it after the files that it mapped.
 */
export class FileMapper implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;

  /** Opens (and compiles, the first time) the native library; throws as `nativeLibraryPath` does. */
  constructor() {
    this.#library = Deno.dlopen(nativeLibraryPath(), SYMBOLS);
  }

  /** Maps the regular file at `path`; throws Error with the system's reason. */
  map(path: string): MappedFile {
    if (path.includes("\0")) throw new TypeError("Cannot map a file as its path contains a NUL");
    const length = new BigUint64Array(1);
    const address = this.#library.symbols.weft_map_file(
      new TextEncoder().encode(`${path}\0`),
      new Uint8Array(length.buffer),
    );
    if (address < 0n) throw new Error(`Cannot map ${path}: ${this.#message(Number(-address))}`);
    return new MappedFile(path, {
      address,
      byteLength: Number(length[0]),
      release: () => this.#library.symbols.weft_release_file(address, length[0]),
      unmap: () => {
        const status = this.#library.symbols.weft_unmap_file(address, length[0]);
        if (status < 0) throw new Error(`Cannot unmap ${path}: ${this.#message(-status)}`);
      },
    });
  }

  #message(errno: number): string {
    const message = new Uint8Array(128);
    this.#library.symbols.weft_errno_message(errno, message, BigInt(message.length));
    return new TextDecoder().decode(message.subarray(0, message.indexOf(0)));
  }

  /** Closes the native library. */
  [Symbol.dispose](): void {
    this.#library.close();
  }
}

/** What {@linkcode FileMapper.map} tells its mapping. */
interface Mapping {
  readonly address: bigint;
  readonly byteLength: number;
  release(): void;
  unmap(): void;
}

/**
 * A file in memory. Pages are read from disk when they are first touched and shared between
 * processes. The file must not shrink while it is mapped: touching a page past its new end kills
 * the process.
 */
export class MappedFile implements Disposable {
  /** The file. */
  readonly path: string;
  /** Address of the first byte; a multiple of the page size. */
  readonly address: bigint;
  /** Size of the file when it was mapped. */
  readonly byteLength: number;
  readonly #mapping: Mapping;
  #open = true;

  /** Made by {@linkcode FileMapper.map}. */
  constructor(path: string, mapping: Mapping) {
    this.path = path;
    this.address = mapping.address;
    this.byteLength = mapping.byteLength;
    this.#mapping = mapping;
  }

  /**
   * A view of `length` bytes from `offset`, to be read only, and not after the file is unmapped.
   * Throws RangeError when the range is not inside the file.
   */
  bytes(offset: number, length: number): Uint8Array<ArrayBuffer> {
    this.#check(offset, length);
    if (length === 0) return new Uint8Array(0);
    const pointer = Deno.UnsafePointer.create(this.address + BigInt(offset));
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, length));
  }

  #check(offset: number, length: number): void {
    if (!this.#open) throw new Error(`Cannot read ${this.path} as it is no longer mapped`);
    if (
      !Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 ||
      offset + length > this.byteLength
    ) {
      throw new RangeError(
        `Cannot read ${length} bytes at ${offset} of ${this.path} as it is shorter: ${this.byteLength} bytes`,
      );
    }
  }

  /** Gives the memory of its pages back; they are read from the file again when they are touched. */
  release(): void {
    if (this.#open) this.#mapping.release();
  }

  /** Unmaps the file. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#mapping.unmap();
  }
}
