/**
 * The C functions that ranks of one machine communicate with: `shared_memory.c`, `byte_ring.c`,
 * `collectives.c`.
 *
 * Addresses are `usize`; statuses are 0 or a negated errno. Callers check every count and index
 * before it gets here.
 * @module
 */
import type { LibrarySymbols } from "./library_symbols.ts";
import { mappedRegions } from "./mapped_regions.ts";
import { nativeLibraryPath } from "./native_library.ts";

/** What processes that share memory ask of the system. */
export const SYSTEM_SYMBOLS = {
  // int32_t weft_shared_create(const char* name, uint64_t byte_length)
  weft_shared_create: { parameters: ["buffer", "usize"], result: "i32" },
  // int32_t weft_shared_open(const char* path)
  weft_shared_open: { parameters: ["buffer"], result: "i32" },
  // int32_t weft_shared_close(int32_t fd)
  weft_shared_close: { parameters: ["i32"], result: "i32" },
  // int64_t weft_shared_map(int32_t fd, uint64_t byte_length)
  weft_shared_map: { parameters: ["i32", "usize"], result: "i64" },
  // int32_t weft_shared_unmap(void* address, uint64_t byte_length)
  weft_shared_unmap: { parameters: ["usize", "usize"], result: "i32" },
  // void weft_errno_message(int32_t number, char* message, uint64_t byte_length)
  weft_errno_message: { parameters: ["i32", "buffer", "usize"], result: "void" },
  // int32_t weft_exit_with_parent(int32_t fd)
  weft_exit_with_parent: { parameters: ["i32"], result: "i32" },
  // void weft_ignore_interrupt(void)
  weft_ignore_interrupt: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What ranks call while they communicate. */
export const TRANSFER_SYMBOLS = {
  // void weft_copy(void* destination, const void* source, uint64_t bytes)
  weft_copy: { parameters: ["usize", "usize", "u64"], result: "void" },
  // int32_t weft_event_wait(weft_event*, uint32_t target, uint64_t timeout_ns,
  //                         const weft_abort_flag*, uint64_t spin_ns)
  weft_event_wait: { parameters: ["usize", "u32", "u64", "usize", "u64"], result: "i32" },
  // void weft_event_post(weft_event*, uint32_t value)
  weft_event_post: { parameters: ["usize", "u32"], result: "void" },
  // uint32_t weft_event_value(weft_event*)
  weft_event_value: { parameters: ["usize"], result: "u32" },

  // int32_t weft_abort_raise(weft_abort_flag*, int32_t rank, const char* text, uint32_t length)
  weft_abort_raise: { parameters: ["usize", "i32", "buffer", "u32"], result: "i32" },
  // int32_t weft_abort_state(const weft_abort_flag*)
  weft_abort_state: { parameters: ["usize"], result: "i32" },
  // int32_t weft_abort_reason(const weft_abort_flag*, char* text, int32_t* rank)
  weft_abort_reason: { parameters: ["usize", "buffer", "buffer"], result: "i32" },

  // int32_t weft_stream_send(weft_ring*, uint32_t capacity, const uint8_t* payload,
  //                          uint64_t byte_length, uint64_t timeout_ns, const weft_abort_flag*)
  weft_stream_send: {
    parameters: ["usize", "u32", "buffer", "u64", "u64", "usize"],
    result: "i32",
  },
  // int64_t weft_stream_next(weft_ring*, uint32_t capacity, uint64_t timeout_ns, const weft_abort_flag*)
  weft_stream_next: { parameters: ["usize", "u32", "u64", "usize"], result: "i64" },
  weft_stream_next_async: {
    name: "weft_stream_next",
    parameters: ["usize", "u32", "u64", "usize"],
    result: "i64",
    nonblocking: true,
  },
  // int32_t weft_stream_take(weft_ring*, uint32_t capacity, uint8_t* payload,
  //                          uint64_t byte_length, uint64_t timeout_ns, const weft_abort_flag*)
  weft_stream_take: {
    parameters: ["usize", "u32", "buffer", "u64", "u64", "usize"],
    result: "i32",
  },
  weft_stream_take_async: {
    name: "weft_stream_take",
    parameters: ["usize", "u32", "buffer", "u64", "u64", "usize"],
    result: "i32",
    nonblocking: true,
  },

  // uint64_t weft_group_bytes(uint32_t size, uint32_t slot_bytes, uint32_t channel_bytes)
  weft_group_bytes: { parameters: ["u32", "u32", "u32"], result: "u64" },
  // void weft_group_initialize(uint8_t* base, uint32_t size, uint32_t slot_bytes, uint32_t channel_bytes)
  weft_group_initialize: { parameters: ["usize", "u32", "u32", "u32"], result: "void" },
  // weft_group* weft_group_open(uint8_t* base, uint64_t byte_length, int32_t rank, int32_t size,
  //                             const weft_abort_flag*, uint64_t timeout_ns, uint64_t spin_ns)
  weft_group_open: {
    parameters: ["usize", "u64", "i32", "i32", "usize", "u64", "u64"],
    result: "usize",
  },
  // void weft_group_close(weft_group*)
  weft_group_close: { parameters: ["usize"], result: "void" },
  // void weft_group_failure(const weft_group*, uint64_t out[5])
  weft_group_failure: { parameters: ["usize", "buffer"], result: "void" },
  // int32_t weft_group_all_reduce(weft_group*, uint8_t* buffer, uint32_t count, uint32_t type, uint32_t operation)
  weft_group_all_reduce: { parameters: ["usize", "usize", "u32", "u32", "u32"], result: "i32" },
  // int32_t weft_group_all_gather(weft_group*, uint8_t* output, const uint8_t* input, uint32_t count, uint32_t type)
  weft_group_all_gather: { parameters: ["usize", "usize", "usize", "u32", "u32"], result: "i32" },
  // int32_t weft_group_reduce_scatter(weft_group*, uint8_t* output, const uint8_t* input,
  //                                   uint32_t count, uint32_t type, uint32_t operation)
  weft_group_reduce_scatter: {
    parameters: ["usize", "usize", "usize", "u32", "u32", "u32"],
    result: "i32",
  },
  // int32_t weft_group_broadcast(weft_group*, uint8_t* buffer, uint32_t count, uint32_t type, uint32_t root)
  weft_group_broadcast: { parameters: ["usize", "usize", "u32", "u32", "u32"], result: "i32" },
  // int32_t weft_group_barrier(weft_group*)
  weft_group_barrier: { parameters: ["usize"], result: "i32" },
  // int32_t weft_group_send(weft_group*, const uint8_t* buffer, uint32_t count, uint32_t type, uint32_t peer)
  weft_group_send: { parameters: ["usize", "usize", "u32", "u32", "u32"], result: "i32" },
  // int32_t weft_group_recv(weft_group*, uint8_t* buffer, uint32_t count, uint32_t type, uint32_t peer)
  weft_group_recv: { parameters: ["usize", "usize", "u32", "u32", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Memory for a call, that the functions can reach. */
export interface HostBuffer extends Disposable {
  /** Address for the functions. */
  readonly address: bigint;
  /** The same memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A region that threads, or processes, share. */
export interface Region {
  /** Where the first byte lies, for the functions. */
  readonly address: bigint;
  /** Where others open it; null when they no longer can. */
  readonly path: string | null;
  /** `byteLength` bytes from `offset`. */
  view(offset: number, byteLength: number): ArrayBuffer;
  /** Lets nobody else open it any more. */
  closeDescriptor(): void;
  /** Gives it up here; others keep it. */
  unmap(): void;
}

/** Makes and opens regions. */
export interface RegionStore {
  /** A region of zeros; throws Error with the reason when there is no memory. */
  create(byteLength: number): Region;
  /** The region of `path`; throws Error with the reason. */
  open(path: string, byteLength: number): Region;
  /** `path` as two numbers, and back: for groups that exchange numbers. */
  placeOf(path: string): readonly [number, number];
  /** The path of {@linkcode placeOf}. */
  pathOf(place: readonly [number, number]): string;
}

/** What ranks communicate with. Close it after everything that was made with it. */
export interface CommunicationLibrary {
  /** Its functions. */
  readonly symbols: LibrarySymbols<typeof TRANSFER_SYMBOLS>;
  /** Its regions. */
  readonly regions: RegionStore;
  /** Makes a buffer, where the functions cannot reach the memory of JavaScript. */
  readonly hostBuffer?: (byteLength: number) => HostBuffer;
  /** Frees it. */
  close(): void;
}

/** The native library, opened for communication between threads and processes. */
export interface NativeCommunicationLibrary extends CommunicationLibrary {
  /** What it asks the system for, besides. */
  readonly system: LibrarySymbols<typeof SYSTEM_SYMBOLS>;
}

/** Statuses that are answers rather than failures of the system. */
export const STATUS = { timedOut: -110, cancelled: -125, mismatch: -71 } as const;

/** Codes of element types in C; tree_reduce.h has the same. */
export const TYPE_CODES = { f64: 0, f32: 1, f16: 2, bf16: 3, i64: 4, i32: 5, u8: 6 } as const;

/** Codes of reductions in C; tree_reduce.h has the same. */
export const REDUCTION_CODES = { sum: 0, max: 1, min: 2 } as const;

/** Codes of collectives in C, in order; collectives.c has the same. */
export const COLLECTIVES = [
  "allReduce",
  "allGather",
  "reduceScatter",
  "broadcast",
  "barrier",
] as const;

/** Ranks that one group may have; tree_reduce.h has the same. */
export const MAX_RANKS = 64;

/**
 * Opens the native library at `path`; compiled for this machine when left out. Throws as
 * `nativeLibraryPath` does.
 */
export function openCommunicationLibrary(
  path: string = nativeLibraryPath(),
): NativeCommunicationLibrary {
  const transfers = Deno.dlopen(path, TRANSFER_SYMBOLS);
  const system = Deno.dlopen(path, SYSTEM_SYMBOLS);
  return {
    symbols: transfers.symbols,
    system: system.symbols,
    regions: mappedRegions(system.symbols),
    close() {
      system.close();
      transfers.close();
    },
  };
}
