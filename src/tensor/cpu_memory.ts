/**
 * Memory of the CPU device.
 * @module
 */
import type { CpuKernelSymbols } from "../native/cpu_kernels.ts";
import { CapacityError } from "./errors.ts";

/** Allocates, frees and copies; knows what is allocated, so that nothing is freed twice or left behind. */
export class CpuMemory implements Disposable {
  readonly #kernels: CpuKernelSymbols;
  readonly #allocated = new Set<bigint>();
  #disposed = false;

  /** Memory from the native library. */
  constructor(kernels: CpuKernelSymbols) {
    this.#kernels = kernels;
  }

  /** Allocates 64-byte aligned memory; throws CapacityError when there is none. */
  allocate(byteLength: number): bigint {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot allocate memory as the size is not a count: ${byteLength}`);
    }
    const address = this.#kernels.weft_allocate(BigInt(byteLength));
    if (address === 0n) {
      throw new CapacityError(
        `Cannot allocate ${byteLength} bytes as the machine is out of memory`,
        byteLength,
      );
    }
    this.#allocated.add(address);
    return address;
  }

  /** Frees what {@linkcode allocate} returned; does nothing after disposal, which freed everything. */
  free(address: bigint): void {
    if (this.#disposed) return;
    if (!this.#allocated.delete(address)) {
      throw new RangeError(`Cannot free 0x${address.toString(16)} as it is not allocated`);
    }
    this.#kernels.weft_free(address);
  }

  /** Copies a JavaScript view to memory. */
  upload(destination: bigint, source: ArrayBufferView): void {
    if (source.byteLength > 0) {
      this.#kernels.weft_upload(destination, bytesOf(source), BigInt(source.byteLength));
    }
  }

  /** Copies memory to a JavaScript view. */
  download(destination: ArrayBufferView, source: bigint): void {
    if (destination.byteLength > 0) {
      this.#kernels.weft_download(bytesOf(destination), source, BigInt(destination.byteLength));
    }
  }

  /** Copies memory; the regions may overlap. */
  copy(destination: bigint, source: bigint, byteLength: number): void {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot copy memory as the size is not a count: ${byteLength}`);
    }
    this.#kernels.weft_copy(destination, source, BigInt(byteLength));
  }

  /** Frees everything that is still allocated. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const address of this.#allocated) this.#kernels.weft_free(address);
    this.#allocated.clear();
  }
}

// FFI takes a view of any kind, of shared memory too; its type knows only unshared ones.
function bytesOf(view: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}
