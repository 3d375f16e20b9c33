/**
 * Memory of the CPU device.
 * @module
 */
import type { DeviceMemory } from "../device.ts";
import { CapacityError } from "../errors.ts";
import { CPU_PANEL_MEMORY_SYMBOLS, PanelMemory, type SharedPanels } from "./panel_memory.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_MEMORY_SYMBOLS = {
  ...CPU_PANEL_MEMORY_SYMBOLS,
  // void* weft_allocate(uint64_t bytes)
  weft_allocate: { parameters: ["u64"], result: "usize" },
  // void weft_free(void* memory)
  weft_free: { parameters: ["usize"], result: "void" },
  // void weft_copy(void* destination, const void* source, uint64_t bytes)
  weft_copy: { parameters: ["usize", "usize", "u64"], result: "void" },
  // The same function, from and to JavaScript's memory.
  weft_upload: { name: "weft_copy", parameters: ["usize", "buffer", "u64"], result: "void" },
  weft_download: { name: "weft_copy", parameters: ["buffer", "usize", "u64"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** A view of JavaScript's memory as FFI takes it. */
interface HostView {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly length: bigint;
}

type MemoryFunctions = Deno.DynamicLibrary<typeof CPU_MEMORY_SYMBOLS>["symbols"];

/** Allocates, frees and copies; knows what is allocated, so that nothing is freed twice or left behind. */
export class CpuMemory implements DeviceMemory, Disposable {
  /** Where packed weights lie. */
  readonly packed: PanelMemory;
  readonly #kernels: MemoryFunctions;
  readonly #allocated = new Set<bigint>();
  /** What steps copy lies in the same views each time. */
  readonly #views = new WeakMap<ArrayBufferView, HostView>();
  #disposed = false;

  /** Memory from the native library; packed weights lie in `shared` where that takes them. */
  constructor(kernels: MemoryFunctions, shared: SharedPanels | null = null) {
    this.#kernels = kernels;
    this.packed = new PanelMemory(kernels, shared);
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
    const { bytes, length } = this.#viewOf(source);
    if (length > 0n) this.#kernels.weft_upload(destination, bytes, length);
  }

  /** Copies memory to a JavaScript view. */
  download(destination: ArrayBufferView, source: bigint): void {
    const { bytes, length } = this.#viewOf(destination);
    if (length > 0n) this.#kernels.weft_download(bytes, source, length);
  }

  /** Copies memory; the regions may overlap. */
  copy(destination: bigint, source: bigint, byteLength: number): void {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot copy memory as the size is not a count: ${byteLength}`);
    }
    this.#kernels.weft_copy(destination, source, BigInt(byteLength));
  }

  #viewOf(source: ArrayBufferView): HostView {
    let view = this.#views.get(source);
    if (!view) {
      // FFI takes a view of any kind, of shared memory too; its type knows only unshared ones.
      const { buffer, byteOffset, byteLength } = source as ArrayBufferView<ArrayBuffer>;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      this.#views.set(source, view = { bytes, length: BigInt(byteLength) });
    }
    return view;
  }

  /** Frees everything that is still allocated. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const address of this.#allocated) this.#kernels.weft_free(address);
    this.#allocated.clear();
    this.packed[Symbol.dispose]();
  }
}
