/**
 * Memory of packed weights.
 * @module
 */
import { CapacityError } from "../errors.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_PANEL_MEMORY_SYMBOLS = {
  // void* weft_map_panels(uint64_t bytes)
  weft_map_panels: { parameters: ["u64"], result: "usize" },
  // void weft_unmap_panels(void* memory, uint64_t bytes)
  weft_unmap_panels: { parameters: ["usize", "u64"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type PanelMemoryFunctions = Deno.DynamicLibrary<typeof CPU_PANEL_MEMORY_SYMBOLS>["symbols"];

const HUGE_PAGE = 2 * 1024 * 1024;

/** Bytes that are mapped at once; pages that nobody wrote take no memory. */
const REGION_BYTES = 64 * 1024 * 1024;

/** Weights lie page by page, so that none shares a cache line or a small page with another. */
const ALIGNMENT = 4096;

/** Memory of a packed weight. */
export interface PanelSpace {
  /** Address of the first byte; a multiple of the page size. */
  readonly address: bigint;
  /** Whether the weight lies there already, to be read only; zeros where it does not. */
  readonly isPacked: boolean;
}

/** Packed weights that replicas share. They outlive the device that takes them. */
export interface SharedPanels {
  /** The next weight, of `byteLength` bytes; null when it is not to be shared. */
  allocate(byteLength: number): PanelSpace | null;
}

interface Region {
  readonly address: bigint;
  readonly byteLength: number;
  used: number;
  live: number;
}

/**
 * Memory in huge pages. Weights lie one behind the other in large regions, as a region of its own
 * would cost a small weight up to 2 MiB; a region is unmapped with the last weight in it.
 */
export class PanelMemory implements Disposable {
  readonly #kernels: PanelMemoryFunctions;
  readonly #shared: SharedPanels | null;
  /** Null where the memory is shared. */
  readonly #regionOf = new Map<bigint, Region | null>();
  #open: Region | null = null;
  #disposed = false;

  /** Memory from the native library, and before that from what replicas share. */
  constructor(kernels: PanelMemoryFunctions, shared: SharedPanels | null = null) {
    this.#kernels = kernels;
    this.#shared = shared;
  }

  /** Memory for a weight of `byteLength` bytes; throws CapacityError when there is none. */
  allocate(byteLength: number): PanelSpace {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(`Cannot allocate memory as the size is not a count: ${byteLength}`);
    }
    const shared = this.#shared?.allocate(byteLength) ?? null;
    if (shared !== null) {
      this.#regionOf.set(shared.address, null);
      return shared;
    }
    const needed = Math.max(1, Math.ceil(byteLength / ALIGNMENT)) * ALIGNMENT;
    let region = this.#open;
    if (region === null || region.used + needed > region.byteLength) {
      region = this.#map(Math.max(REGION_BYTES, Math.ceil(needed / HUGE_PAGE) * HUGE_PAGE));
      this.#open = region;
    }
    const address = region.address + BigInt(region.used);
    region.used += needed;
    region.live++;
    this.#regionOf.set(address, region);
    return { address, isPacked: false };
  }

  /** Frees what {@linkcode allocate} returned; does nothing after disposal, which freed everything. */
  free(address: bigint): void {
    if (this.#disposed) return;
    const region = this.#regionOf.get(address);
    if (region === undefined) {
      throw new RangeError(`Cannot free 0x${address.toString(16)} as it is not allocated`);
    }
    this.#regionOf.delete(address);
    if (region === null || --region.live > 0) return;
    if (this.#open === region) this.#open = null;
    this.#unmap(region);
  }

  /** Unmaps everything. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const region of new Set(this.#regionOf.values())) {
      if (region !== null) this.#unmap(region);
    }
    this.#regionOf.clear();
    this.#open = null;
  }

  #map(byteLength: number): Region {
    const address = this.#kernels.weft_map_panels(BigInt(byteLength));
    if (address === 0n) {
      throw new CapacityError(
        `Cannot allocate ${byteLength} bytes as the machine is out of memory`,
        byteLength,
      );
    }
    return { address, byteLength, used: 0, live: 0 };
  }

  #unmap(region: Region): void {
    this.#kernels.weft_unmap_panels(region.address, BigInt(region.byteLength));
  }
}
