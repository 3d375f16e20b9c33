/**
 * Memory shared by threads and processes, and the flag that ends all waits in it.
 * @module
 */
import type { CommunicationLibrary, NativeCommunicationLibrary, Region } from "./communication.ts";
import { encodeCString } from "./c_declarations.ts";
import { systemError, type SystemFunctions } from "./mapped_regions.ts";

/** Where a region can be opened, as long as its maker keeps it open. Can be sent as JSON. */
export interface SharedMemoryHandle {
  /** Path of the maker's file descriptor. */
  readonly path: string;
  /** Size of the region. */
  readonly byteLength: number;
}

/**
 * A region of memory that other threads and processes of the same user can map. It has no name in
 * any file system: the kernel frees it with its last mapping. Pages that nobody touches take no
 * memory.
 */
export class SharedMemory implements Disposable {
  /** Where the first byte is mapped here; a multiple of the page size. */
  readonly address: bigint;
  /** Size of the region. */
  readonly byteLength: number;
  readonly #region: Region;
  #mapped = true;

  private constructor(region: Region, byteLength: number) {
    this.#region = region;
    this.address = region.address;
    this.byteLength = byteLength;
  }

  /** Makes a region of zeros; throws Error with the system's reason. */
  static create(library: CommunicationLibrary, byteLength: number): SharedMemory {
    checkByteLength(byteLength);
    return new SharedMemory(library.regions.create(byteLength), byteLength);
  }

  /** Maps a region that another thread or process made; throws Error when its maker has gone. */
  static open(library: CommunicationLibrary, handle: SharedMemoryHandle): SharedMemory {
    const { path, byteLength } = handle;
    checkByteLength(byteLength);
    return new SharedMemory(library.regions.open(path, byteLength), byteLength);
  }

  /** Where others can open the region. Throws Error after {@linkcode closeDescriptor}. */
  get handle(): SharedMemoryHandle {
    const { path } = this.#region;
    if (path === null) {
      throw new Error(
        "Cannot share memory as its descriptor is closed: only its maker can share it",
      );
    }
    return { path, byteLength: this.byteLength };
  }

  /** Keeps the mapping, but lets nobody else open the region any more. */
  closeDescriptor(): void {
    this.#region.closeDescriptor();
  }

  /** The memory from `offset`, not to be used after the region is disposed; throws RangeError. */
  bytes(offset: number, byteLength: number): ArrayBuffer {
    if (
      !Number.isSafeInteger(offset) || !Number.isSafeInteger(byteLength) || offset < 0 ||
      byteLength < 1 || offset + byteLength > this.byteLength
    ) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${offset} as the region is smaller: ${this.byteLength} bytes`,
      );
    }
    if (!this.#mapped) throw new Error("Cannot view shared memory as it is no longer mapped");
    return this.#region.view(offset, byteLength);
  }

  /** Unmaps the region here; others keep their mappings. */
  [Symbol.dispose](): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    this.closeDescriptor();
    this.#region.unmap();
  }
}

/** A file in memory without a name in any file system; gone when it is disposed. */
export class SharedFile implements Disposable {
  /** Where processes of the same user can open it. */
  readonly path: string;
  readonly #system: SystemFunctions;
  #descriptor: number;

  private constructor(system: SystemFunctions, descriptor: number) {
    this.#system = system;
    this.#descriptor = descriptor;
    this.path = `/proc/${Deno.pid}/fd/${descriptor}`;
  }

  /** Makes an empty file; throws Error with the system's reason. */
  static create({ system }: NativeCommunicationLibrary): SharedFile {
    const descriptor = system.weft_shared_create(encodeCString("weft"), 0n);
    if (descriptor < 0) throw systemError(system, "Cannot create a file in memory", descriptor);
    return new SharedFile(system, descriptor);
  }

  /** Everything that was written to it, as text. */
  read(): string {
    return Deno.readTextFileSync(this.path);
  }

  /** Frees the file. */
  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    this.#system.weft_shared_close(this.#descriptor);
    this.#descriptor = -1;
  }
}

/** Bytes at the start of a region that its abort flag takes. */
export const ABORT_FLAG_BYTES = 4096;

const ABORT_TEXT_BYTES = 4080;

/** Why a group ended, and which rank ended it (-1: none of them). */
export interface AbortReason {
  /** The rank that raised the flag. */
  readonly rank: number;
  /** Why. */
  readonly text: string;
}

/** The flag at the start of a region that makes every wait in it fail. The first to raise it wins. */
export class AbortFlag {
  /** Where the flag lies. */
  readonly address: bigint;
  readonly #library: CommunicationLibrary;

  /** The flag at the start of `memory`, which must outlive it. */
  constructor(library: CommunicationLibrary, memory: SharedMemory) {
    this.#library = library;
    this.address = memory.address;
  }

  /** Ends all waits within 50 ms; false when the flag was already raised. */
  raise(text: string, rank: number): boolean {
    const bytes = new Uint8Array(ABORT_TEXT_BYTES);
    const { written } = new TextEncoder().encodeInto(text, bytes);
    return this.#library.symbols.weft_abort_raise(this.address, rank, bytes, written) === 1;
  }

  /** True once it was raised. */
  get raised(): boolean {
    return this.#library.symbols.weft_abort_state(this.address) !== 0;
  }

  /** Why it was raised; null while it is not. */
  get reason(): AbortReason | null {
    if (!this.raised) return null;
    const bytes = new Uint8Array(ABORT_TEXT_BYTES);
    const rank = new Int32Array(1);
    const length = this.#library.symbols.weft_abort_reason(this.address, bytes, rank);
    if (length < 0) return { rank: -1, text: "a rank died while it gave its reason" };
    return { rank: rank[0], text: new TextDecoder().decode(bytes.subarray(0, length)) };
  }
}

function checkByteLength(byteLength: number): void {
  if (!Number.isSafeInteger(byteLength) || byteLength < ABORT_FLAG_BYTES) {
    throw new RangeError(
      `Cannot map shared memory as its size is not a number of bytes from ${ABORT_FLAG_BYTES}: ${byteLength}`,
    );
  }
}
