/**
 * The communicator interface: collectives and point-to-point transfers between ranks.
 * @module
 */
import type { HostBuffer } from "../native/communication.ts";
import type { DeviceMemory } from "../tensor/device.ts";
import type { DType } from "../tensor/dtype.ts";

/** Reduction of {@linkcode Communicator.allReduce} and {@linkcode Communicator.reduceScatter}. */
export type ReduceOp = "sum" | "max" | "min";

/**
 * A group of ranks that communicate. Buffers are addresses in the memory of each rank's device;
 * counts are elements. Every rank of the group calls the same operations in the same order.
 * Operations have a deadline and throw {@linkcode CommunicatorError} naming rank and operation.
 *
 * Float sums in host memory follow one binary tree over the ranks, ((0+1)+(2+3))+((4+5)+(6+7)),
 * whatever the implementation: the result is the same bits on every rank and continues the tree inside
 * a row-parallel product (NUMERICS.md 1). NCCL adds in an order of its own.
 */
export interface Communicator extends Disposable {
  /** This process's or thread's place in the group, from 0. */
  readonly rank: number;
  /** Number of ranks in the group. */
  readonly size: number;
  /** What moves the data: `single`, `shared-memory`, `nccl`, `mpi`. */
  readonly kind: string;
  /**
   * Memory for buffers that are reduced again and again, where some is better than others; `memory` is
   * the device's. Every rank of the group allocates the same sizes in the same order.
   */
  reducedMemory?(memory: DeviceMemory): DeviceMemory;
  /** Makes a buffer of host memory for operations that cannot reach the memory of JavaScript. */
  hostBuffer?(byteLength: number): HostBuffer | undefined;
  /** Reduces `count` elements in place; afterwards every rank holds the result. */
  allReduce(buffer: bigint, count: number, options?: { dtype?: DType; op?: ReduceOp }): void;
  /** Concatenates `count` elements of each rank, in rank order, into `output` (`size * count`). */
  allGather(output: bigint, input: bigint, count: number, options?: { dtype?: DType }): void;
  /** Reduces `size * count` elements of `input`; rank r keeps the r-th `count` of them in `output`. */
  reduceScatter(
    output: bigint,
    input: bigint,
    count: number,
    options?: { dtype?: DType; op?: ReduceOp },
  ): void;
  /** Copies `count` elements from `root` to every rank. */
  broadcast(buffer: bigint, count: number, options: { root: number; dtype?: DType }): void;
  /** Sends to `peer`; may return before the peer has received. */
  send(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void;
  /** Receives from `peer`, in the order in which it sent. */
  recv(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void;
  /** Returns when every rank of the group has called it. */
  barrier(): void;
  /** Forms groups of equal `color`, ordered by `key` then rank; every rank of this group takes part. */
  split(color: number, key: number): Communicator;
  /** Makes every pending and later operation of every rank of the group fail with `reason`. */
  abort(reason: string): void;
}

/** A communication that failed: a peer is gone or too late, or the group was aborted. */
export class CommunicatorError extends Error {
  /** Operation that failed, such as `allReduce`. */
  readonly operation: string;
  /** Rank that reports the failure. */
  readonly rank: number;

  /** Names the failed operation and the rank that reports it. */
  constructor(message: string, options: { operation: string; rank: number; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = "CommunicatorError";
    this.operation = options.operation;
    this.rank = options.rank;
  }
}
