/**
 * Device memory that NCCL knows on every rank, so that small sums go from GPU to GPU directly.
 * @module
 */
import type { Nccl, NcclHandle } from "../native/nccl.ts";
import { NcclConstant } from "../native/nccl_types.ts";
import type { DeviceMemory } from "../tensor/device.ts";

/** What {@linkcode NcclMemory} works with. */
export interface NcclMemoryOptions {
  /** The NCCL communicator that reduces the memory. */
  readonly communicator: bigint;
  /** Memory of the device, for copies. */
  readonly memory: DeviceMemory;
  /** Whether the communicator has not been given up. */
  readonly isOpen: () => boolean;
  /** Waits until NCCL has done what it was asked. */
  readonly wait: () => void;
}

/**
 * Symmetric memory (NCCL 2.27 and later): every rank allocates the same sizes in the same order. Where
 * NCCL declines to register a region, it is ordinary memory.
 */
export class NcclMemory implements DeviceMemory {
  readonly #nccl: Nccl;
  readonly #options: NcclMemoryOptions;
  readonly #windows = new Map<bigint, NcclHandle>();

  /** Memory of the current device. */
  constructor(nccl: Nccl, options: NcclMemoryOptions) {
    this.#nccl = nccl;
    this.#options = options;
  }

  /** Allocates and registers memory; every rank of the communicator calls it. */
  allocate(byteLength: number): bigint {
    const { communicator, wait } = this.#options;
    const address = this.#nccl.memAlloc(byteLength);
    const flags = NcclConstant.NCCL_WIN_COLL_SYMMETRIC;
    const window = this.#nccl.commWindowRegister(communicator, address, byteLength, flags);
    wait();
    this.#windows.set(address, window);
    return address;
  }

  /** Frees what {@linkcode allocate} returned, before the communicator ends. */
  free(address: bigint): void {
    const window = this.#windows.get(address);
    if (window === undefined) {
      throw new RangeError(`Cannot free 0x${address.toString(16)} as it is not allocated`);
    }
    this.#windows.delete(address);
    // Windows go with a communicator that is given up.
    if (window.value !== 0n && this.#options.isOpen()) {
      this.#nccl.commWindowDeregister(this.#options.communicator, window.value);
      this.#options.wait();
    }
    this.#nccl.memFree(address);
  }

  /** See {@linkcode DeviceMemory.upload}. */
  upload(destination: bigint, source: ArrayBufferView): void {
    this.#options.memory.upload(destination, source);
  }

  /** See {@linkcode DeviceMemory.download}. */
  download(destination: ArrayBufferView, source: bigint): void {
    this.#options.memory.download(destination, source);
  }

  /** See {@linkcode DeviceMemory.copy}. */
  copy(destination: bigint, source: bigint, byteLength: number): void {
    this.#options.memory.copy(destination, source, byteLength);
  }
}
