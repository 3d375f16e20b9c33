/**
 * NCCL: communication between GPUs. Communicators are made without blocking, so that a rank can give up:
 * `ncclInProgress` is an answer, and `commGetAsyncError` says when it is over.
 * @module
 */
import { decodeCString } from "./c_declarations.ts";
import {
  type LibraryDescription,
  type LibraryVersion,
  type OpenLibrary,
  openLibrary,
} from "./library.ts";
import { checkNatural, checkSize } from "./native_arguments.ts";
import { NativeError } from "./native_error.ts";
import { NCCL_SYMBOLS } from "./nccl_symbols.ts";
import { NCCL_CONFIG, NcclConstant, NcclResult } from "./nccl_types.ts";

/** The NCCL whose `ncclConfig_t` is passed; later ones take it for what it is. */
const CONFIG_VERSION = 21800;

/** Where libnccl is found. */
const NCCL: LibraryDescription<Pick<typeof NCCL_SYMBOLS, "ncclGetVersion">> = {
  name: "nccl",
  variable: "WEFT_NCCL_PATH",
  sonames: ["libnccl.so.2"],
  wheels: ["nccl"],
  install: "pip install nvidia-nccl-cu13",
  minimum: [2, 18, 0],
  resident: true,
  versionSymbols: { ncclGetVersion: NCCL_SYMBOLS.ncclGetVersion },
  readVersion({ ncclGetVersion }) {
    const code = new Int32Array(1);
    const status = ncclGetVersion(code);
    if (status !== 0) throw new Error(`it gave no version: status ${status}`);
    return decodeVersion(code[0]);
  },
};

/** Settings of a communicator. */
export interface NcclConfig {
  /** Fewest thread blocks that a collective takes. Default: NCCL's choice. */
  readonly minCtas?: number;
  /** Most thread blocks that a collective takes. Default: NCCL's choice. */
  readonly maxCtas?: number;
}

/** Options of {@linkcode Nccl.commInitRank}. */
export interface NcclInitOptions {
  /** What one rank got from `getUniqueId` and gave to the others. */
  readonly id: Uint8Array<ArrayBuffer>;
  /** Number of ranks. */
  readonly rankCount: number;
  /** This rank. */
  readonly rank: number;
  /** Settings. */
  readonly config?: NcclConfig;
}

/**
 * What NCCL hands out. A communicator without blocking may write it from a thread of its own: the value
 * is 0 until then.
 */
export interface NcclHandle {
  /** The communicator or window. */
  readonly value: bigint;
}

/** Opens libnccl; throws LibraryError. */
export function openNccl(): Nccl {
  return new Nccl(openLibrary(NCCL, NCCL_SYMBOLS));
}

/**
 * The open NCCL. Every method throws NativeError when the C function fails. Those that a communicator
 * without blocking may go on with in the background return whether they are done.
 */
export class Nccl implements Disposable {
  /** The C functions. */
  readonly symbols: Deno.DynamicLibrary<typeof NCCL_SYMBOLS>["symbols"];
  /** File that was opened. */
  readonly path: string;
  /** Version of the library. */
  readonly version: LibraryVersion;
  readonly #library: OpenLibrary<typeof NCCL_SYMBOLS>;
  readonly #integer = new Int32Array(1);
  readonly #slots: BigUint64Array<ArrayBuffer>[] = [];

  /** Made by {@linkcode openNccl}. */
  constructor(library: OpenLibrary<typeof NCCL_SYMBOLS>) {
    this.#library = library;
    this.symbols = library.symbols;
    this.path = library.path;
    this.version = library.version;
  }

  /**
   * True when `status`, which `functionName` has returned for `communicator` (0: none), is success, and
   * false when it is `ncclInProgress`; throws NativeError otherwise.
   */
  check(status: number, functionName: string, communicator = 0n): boolean {
    if (status === NcclResult.ncclSuccess) return true;
    if (status === NcclResult.ncclInProgress) return false;
    throw this.error(status, functionName, communicator);
  }

  /** The error of a status. */
  error(status: number, functionName: string, communicator = 0n): NativeError {
    const text = decodeCString(this.symbols.ncclGetErrorString(status));
    const last = this.getLastError(communicator);
    const explanation = last === "" ? text : `${text}; ${last}`;
    return new NativeError({ library: "nccl", function: functionName, status, explanation });
  }

  /** What NCCL says of the last failure of a communicator (0: of none). */
  getLastError(communicator: bigint): string {
    return decodeCString(this.symbols.ncclGetLastError(communicator)).trim();
  }

  /** A new identity of a group of ranks: 128 bytes to be given to all of them. */
  getUniqueId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(NcclConstant.NCCL_UNIQUE_ID_BYTES);
    this.check(this.symbols.ncclGetUniqueId(id), "ncclGetUniqueId");
    return id;
  }

  /** Memory that NCCL's threads may write to as long as the library is open. */
  #newSlot(): BigUint64Array<ArrayBuffer> {
    const slot = new BigUint64Array(1);
    this.#slots.push(slot);
    return slot;
  }

  /**
   * Begins to make a communicator of all ranks on the current device. Its value is there at once;
   * `commGetAsyncError` says when it can be used.
   */
  commInitRank({ id, rankCount, rank, config = {} }: NcclInitOptions): NcclHandle {
    checkNatural("rankCount", rankCount);
    checkNatural("rank", rank);
    if (id.length !== NcclConstant.NCCL_UNIQUE_ID_BYTES) {
      throw new RangeError(
        `Cannot initialise NCCL as an id has ${NcclConstant.NCCL_UNIQUE_ID_BYTES} bytes: this has ${id.length}`,
      );
    }
    const { ncclCommInitRankScalable, ncclCommInitRankConfig } = this.symbols;
    const settings = encodeConfig(config);
    const slot = this.#newSlot();
    if (ncclCommInitRankScalable !== null) {
      this.check(
        ncclCommInitRankScalable(slot, rankCount, rank, 1, id, settings),
        "ncclCommInitRankScalable",
      );
    } else {
      this.check(
        ncclCommInitRankConfig(slot, rankCount, id, rank, settings),
        "ncclCommInitRankConfig",
      );
    }
    return handleOf(slot);
  }

  /**
   * Begins to make a communicator of the ranks that give the same `color`, ordered by `key`; none for a
   * rank that gives `NCCL_SPLIT_NOCOLOR`. Its value is there when `commGetAsyncError` says of
   * `communicator` that it is done.
   */
  commSplit(communicator: bigint, color: number, key: number, config: NcclConfig = {}): NcclHandle {
    if (color !== NcclConstant.NCCL_SPLIT_NOCOLOR) checkNatural("color", color);
    checkNatural("key", key);
    const slot = this.#newSlot();
    const status = this.symbols.ncclCommSplit(
      communicator,
      color,
      key,
      slot,
      encodeConfig(config),
    );
    this.check(status, "ncclCommSplit", communicator);
    return handleOf(slot);
  }

  /** Whether a communicator has finished what it was asked; throws what went wrong in it meanwhile. */
  commGetAsyncError(communicator: bigint): boolean {
    const status = this.symbols.ncclCommGetAsyncError(communicator, this.#integer);
    this.check(status, "ncclCommGetAsyncError", communicator);
    return this.check(this.#integer[0], "ncclCommGetAsyncError", communicator);
  }

  /** Begins to end a communicator once its operations are done. */
  commFinalize(communicator: bigint): boolean {
    return this.check(
      this.symbols.ncclCommFinalize(communicator),
      "ncclCommFinalize",
      communicator,
    );
  }

  /** Frees a communicator that was finalized. */
  commDestroy(communicator: bigint): boolean {
    return this.check(this.symbols.ncclCommDestroy(communicator), "ncclCommDestroy");
  }

  /** Stops the operations of a communicator and frees it. */
  commAbort(communicator: bigint): boolean {
    return this.check(this.symbols.ncclCommAbort(communicator), "ncclCommAbort");
  }

  /** Reduces `count` elements over all ranks; types and reductions as in `nccl_types.ts`. */
  allReduce(
    source: bigint,
    destination: bigint,
    count: bigint,
    dataType: number,
    reduction: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclAllReduce(
      source,
      destination,
      count,
      dataType,
      reduction,
      communicator,
      stream,
    );
    return status === 0 || this.check(status, "ncclAllReduce", communicator);
  }

  /** Gathers `count` elements of each rank, in the order of ranks. */
  allGather(
    source: bigint,
    destination: bigint,
    count: bigint,
    dataType: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclAllGather(
      source,
      destination,
      count,
      dataType,
      communicator,
      stream,
    );
    return status === 0 || this.check(status, "ncclAllGather", communicator);
  }

  /** Reduces over all ranks; each gets its block of `count` elements. */
  reduceScatter(
    source: bigint,
    destination: bigint,
    count: bigint,
    dataType: number,
    reduction: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclReduceScatter(
      source,
      destination,
      count,
      dataType,
      reduction,
      communicator,
      stream,
    );
    return status === 0 || this.check(status, "ncclReduceScatter", communicator);
  }

  /** Copies `count` elements of rank `root` to all. */
  broadcast(
    source: bigint,
    destination: bigint,
    count: bigint,
    dataType: number,
    root: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclBroadcast(
      source,
      destination,
      count,
      dataType,
      root,
      communicator,
      stream,
    );
    return status === 0 || this.check(status, "ncclBroadcast", communicator);
  }

  /** Sends `count` elements to a rank. */
  send(
    source: bigint,
    count: bigint,
    dataType: number,
    peer: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclSend(source, count, dataType, peer, communicator, stream);
    return status === 0 || this.check(status, "ncclSend", communicator);
  }

  /** Receives `count` elements from a rank. */
  recv(
    destination: bigint,
    count: bigint,
    dataType: number,
    peer: number,
    communicator: bigint,
    stream: bigint,
  ): boolean {
    const status = this.symbols.ncclRecv(destination, count, dataType, peer, communicator, stream);
    return status === 0 || this.check(status, "ncclRecv", communicator);
  }

  /** Lets the operations up to {@linkcode groupEnd} run as one. */
  groupStart(): boolean {
    return this.check(this.symbols.ncclGroupStart(), "ncclGroupStart");
  }

  /** Starts the operations since {@linkcode groupStart}. */
  groupEnd(): boolean {
    return this.check(this.symbols.ncclGroupEnd(), "ncclGroupEnd");
  }

  /** Whether symmetric memory can be registered (NCCL 2.27 and later). */
  get hasWindows(): boolean {
    const { ncclMemAlloc, ncclCommWindowRegister } = this.symbols;
    return ncclMemAlloc !== null && ncclCommWindowRegister !== null;
  }

  /** Address of `byteLength` new bytes on the current device that can be registered. */
  memAlloc(byteLength: number): bigint {
    checkSize("byteLength", byteLength);
    const { ncclMemAlloc } = this.symbols;
    if (ncclMemAlloc === null) throw this.#missing("ncclMemAlloc");
    const address = new BigUint64Array(1);
    this.check(ncclMemAlloc(address, BigInt(byteLength)), "ncclMemAlloc");
    return address[0];
  }

  /** Frees what {@linkcode memAlloc} gave. */
  memFree(address: bigint): void {
    const { ncclMemFree } = this.symbols;
    if (ncclMemFree === null) throw this.#missing("ncclMemFree");
    this.check(ncclMemFree(address), "ncclMemFree");
  }

  /**
   * Registers memory on every rank of a communicator; `flags` `NCCL_WIN_COLL_SYMMETRIC` when all give the
   * same offset. Its value is there when `commGetAsyncError` says that the communicator is done; 0 where
   * NCCL declines.
   */
  commWindowRegister(
    communicator: bigint,
    address: bigint,
    byteLength: number,
    flags: number,
  ): NcclHandle {
    checkSize("byteLength", byteLength);
    const { ncclCommWindowRegister } = this.symbols;
    if (ncclCommWindowRegister === null) throw this.#missing("ncclCommWindowRegister");
    const slot = this.#newSlot();
    const status = ncclCommWindowRegister(
      communicator,
      address,
      BigInt(byteLength),
      slot,
      flags,
    );
    this.check(status, "ncclCommWindowRegister", communicator);
    return handleOf(slot);
  }

  /** Undoes {@linkcode commWindowRegister}. */
  commWindowDeregister(communicator: bigint, window: bigint): boolean {
    const { ncclCommWindowDeregister } = this.symbols;
    if (ncclCommWindowDeregister === null) throw this.#missing("ncclCommWindowDeregister");
    return this.check(
      ncclCommWindowDeregister(communicator, window),
      "ncclCommWindowDeregister",
      communicator,
    );
  }

  #missing(functionName: string): Error {
    const version = this.version.join(".");
    return new Error(`Cannot call ${functionName} as NCCL ${version} at ${this.path} lacks it`);
  }

  /** Closes the library. */
  close(): void {
    this.#library.close();
  }

  /** Closes the library. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function handleOf(slot: BigUint64Array): NcclHandle {
  return {
    get value(): bigint {
      return slot[0];
    },
  };
}

/** `config` in memory, as a communicator without blocking. */
function encodeConfig({ minCtas, maxCtas }: NcclConfig): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(NCCL_CONFIG.byteLength));
  const { offsets } = NCCL_CONFIG;
  const { NCCL_API_MAGIC, NCCL_CONFIG_UNDEF_INT } = NcclConstant;
  for (const [name, value] of Object.entries({ minCtas, maxCtas })) {
    if (value !== undefined) checkNatural(name, value);
  }
  view.setBigUint64(offsets.size, BigInt(NCCL_CONFIG.byteLength), true);
  view.setUint32(offsets.magic, NCCL_API_MAGIC, true);
  view.setUint32(offsets.version, CONFIG_VERSION, true);
  view.setInt32(offsets.blocking, 0, true);
  view.setInt32(offsets.cgaClusterSize, NCCL_CONFIG_UNDEF_INT, true);
  view.setInt32(offsets.minCTAs, minCtas ?? NCCL_CONFIG_UNDEF_INT, true);
  view.setInt32(offsets.maxCTAs, maxCtas ?? NCCL_CONFIG_UNDEF_INT, true);
  view.setInt32(offsets.splitShare, NCCL_CONFIG_UNDEF_INT, true);
  view.setInt32(offsets.trafficClass, NCCL_CONFIG_UNDEF_INT, true);
  return new Uint8Array(view.buffer);
}

/** A version that NCCL gives as one number: 23007 is 2.30.7. */
function decodeVersion(code: number): LibraryVersion {
  return [Math.trunc(code / 10000), Math.trunc(code % 10000 / 100), code % 100];
}
