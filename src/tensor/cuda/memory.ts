/**
 * Memory of a CUDA device, and the pinned host memory through which everything enters and leaves it.
 * @module
 */
import type { Cudart } from "../../native/cudart.ts";
import { CudaError, CudaMemcpyKind } from "../../native/cudart_types.ts";
import { NativeError } from "../../native/native_error.ts";
import type { DeviceMemory, Readback } from "../device.ts";
import { CapacityError } from "../errors.ts";
import type { CudaEvent, CudaStream } from "./stream.ts";

/** Pinned memory for uploads: while one part is copied to the device, the next ones are filled. */
const STAGING_PARTS = 4;
const STAGING_PART_BYTES = 4 << 20;
/** Parts of an upload start at multiples of it. */
const ALIGNMENT = 64;

/** Allocations of one device, and copies in the order of its stream. */
export class CudaMemory implements DeviceMemory, Disposable {
  readonly #cudart: Cudart;
  readonly #stream: CudaStream;
  readonly #allocated = new Set<bigint>();
  readonly #staging: PinnedMemory;
  readonly #events: readonly CudaEvent[];
  #part = 0;
  #used = 0;
  #disposed = false;

  /** Memory of the current device. */
  constructor(cudart: Cudart, stream: CudaStream) {
    this.#cudart = cudart;
    this.#stream = stream;
    this.#staging = new PinnedMemory(cudart, STAGING_PARTS * STAGING_PART_BYTES);
    this.#events = Array.from({ length: STAGING_PARTS }, () => stream.event());
  }

  /** Allocates 256-byte aligned memory; throws CapacityError when the device has none left. */
  allocate(byteLength: number): bigint {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot allocate memory as the size is not a count: ${byteLength}`);
    }
    if (this.#stream.recording) {
      throw new Error("Cannot allocate memory as a recording is being made");
    }
    try {
      const address = this.#cudart.malloc(Math.max(1, byteLength));
      this.#allocated.add(address);
      return address;
    } catch (error) {
      if (!isStatus(error, CudaError.cudaErrorMemoryAllocation)) throw error;
      this.#cudart.getLastError();
      throw new CapacityError(
        `Cannot allocate ${byteLength} bytes as the GPU is out of memory`,
        byteLength,
      );
    }
  }

  /**
   * Frees what {@linkcode allocate} returned; does nothing after disposal, which freed everything, or when
   * the stream has failed.
   */
  free(address: bigint): void {
    if (this.#disposed) return;
    if (!this.#allocated.delete(address)) {
      throw new RangeError(`Cannot free 0x${address.toString(16)} as it is not allocated`);
    }
    if (this.#stream.failed) return;
    try {
      this.#cudart.free(address);
    } catch (error) {
      // cudaFree gives the error of whatever ran before as well: that is reported where it is waited for.
      if (isStatus(error, CudaError.cudaErrorInvalidValue)) throw error;
    }
  }

  /** Copies a JavaScript view to the device; the view may be changed at once. */
  upload(destination: bigint, source: ArrayBufferView): void {
    this.#stage(destination, bytesOf(source));
  }

  /** Copies host memory, such as a mapped file, to the device; it may be changed at once. */
  uploadFrom(destination: bigint, source: bigint, byteLength: number): void {
    if (byteLength === 0) return;
    const pointer = Deno.UnsafePointer.create(source);
    if (pointer === null) throw new RangeError("Cannot upload as the address is null");
    const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
    this.#stage(destination, bytes);
  }

  #stage(destination: bigint, source: Uint8Array): void {
    for (let done = 0; done < source.length;) {
      const offset = this.#reserve(Math.min(source.length - done, STAGING_PART_BYTES));
      const room = (this.#part + 1) * STAGING_PART_BYTES - offset;
      const chunk = source.subarray(done, done + room);
      this.#staging.bytes.set(chunk, offset);
      this.#copy(
        destination + BigInt(done),
        this.#staging.address + BigInt(offset),
        BigInt(chunk.length),
        CudaMemcpyKind.cudaMemcpyHostToDevice,
      );
      this.#used += Math.ceil(chunk.length / ALIGNMENT) * ALIGNMENT;
      done += chunk.length;
    }
  }

  /** Offset of free staging memory; goes on to the next part when this one is too full. */
  #reserve(byteLength: number): number {
    if (this.#used + byteLength > STAGING_PART_BYTES) {
      this.#events[this.#part].record();
      this.#part = (this.#part + 1) % STAGING_PARTS;
      this.#used = 0;
      const event = this.#events[this.#part];
      this.#stream.waitForWork(() => event.hasPassed(), "an upload");
    }
    return this.#part * STAGING_PART_BYTES + this.#used;
  }

  /** Copies device memory to a JavaScript view, after pending work. */
  download(destination: ArrayBufferView, source: bigint): void {
    const bytes = bytesOf(destination);
    // Uploads that are under way still read the staging memory.
    this.#stream.synchronize();
    for (let done = 0; done < bytes.length; done += this.#staging.bytes.length) {
      const length = Math.min(bytes.length - done, this.#staging.bytes.length);
      const kind = CudaMemcpyKind.cudaMemcpyDeviceToHost;
      this.#copy(this.#staging.address, source + BigInt(done), BigInt(length), kind);
      this.#stream.synchronize();
      bytes.set(this.#staging.bytes.subarray(0, length), done);
    }
  }

  /** Copies inside the device. */
  copy(destination: bigint, source: bigint, byteLength: number): void {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot copy memory as the size is not a count: ${byteLength}`);
    }
    if (byteLength === 0) return;
    const kind = CudaMemcpyKind.cudaMemcpyDeviceToDevice;
    this.#copy(destination, source, BigInt(byteLength), kind);
  }

  #copy(destination: bigint, source: bigint, byteLength: bigint, kind: number): void {
    this.#cudart.memcpyAsync(destination, source, byteLength, kind, this.#stream.handle);
  }

  /** A landing place of its own for results that are fetched while later work is queued. */
  readback(byteLength: number): Readback {
    return new CudaReadback(this.#cudart, this.#stream, byteLength);
  }

  /** Frees everything that is still allocated; pending work must have ended. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const address of this.#allocated) this.#cudart.free(address);
    this.#allocated.clear();
    for (const event of this.#events) event[Symbol.dispose]();
    this.#staging[Symbol.dispose]();
  }
}

/** Host memory that the device reads and writes by itself. */
class PinnedMemory implements Disposable {
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #cudart: Cudart;

  constructor(cudart: Cudart, byteLength: number) {
    this.#cudart = cudart;
    this.address = cudart.hostAlloc(byteLength);
    const pointer = Deno.UnsafePointer.create(this.address)!;
    this.bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
  }

  [Symbol.dispose](): void {
    this.#cudart.freeHost(this.address);
  }
}

class CudaReadback implements Readback {
  readonly #cudart: Cudart;
  readonly #stream: CudaStream;
  readonly #memory: PinnedMemory;
  readonly #event: CudaEvent;
  #length = 0;

  constructor(cudart: Cudart, stream: CudaStream, byteLength: number) {
    this.#cudart = cudart;
    this.#stream = stream;
    this.#memory = new PinnedMemory(cudart, Math.max(1, byteLength));
    this.#event = stream.event();
  }

  start(source: bigint, byteLength: number): void {
    const room = this.#memory.bytes.length;
    if (!Number.isInteger(byteLength) || byteLength < 0 || byteLength > room) {
      throw new RangeError(`Cannot read back ${byteLength} bytes as there is room for ${room}`);
    }
    this.#length = byteLength;
    if (byteLength > 0) {
      this.#cudart.memcpyAsync(
        this.#memory.address,
        source,
        BigInt(byteLength),
        CudaMemcpyKind.cudaMemcpyDeviceToHost,
        this.#stream.handle,
      );
    }
    this.#event.record();
  }

  isReady(): boolean {
    if (this.#event.hasPassed()) return true;
    // Work that waits for another rank never fails by itself.
    this.#stream.poll();
    return false;
  }

  read(): Uint8Array<ArrayBuffer> {
    this.#stream.waitForWork(() => this.#event.hasPassed(), "results of the device");
    return this.#memory.bytes.subarray(0, this.#length);
  }

  [Symbol.dispose](): void {
    if (this.#stream.failed) return;
    this.#stream.waitForWork(() => this.#event.hasPassed(), "results of the device");
    this.#event[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}

function isStatus(error: unknown, status: number): boolean {
  return error instanceof NativeError && error.status === status;
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
