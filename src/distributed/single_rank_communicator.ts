/**
 * The communicator of a rank that is alone.
 * @module
 */
import { type DType, dtypeBytes } from "../tensor/dtype.ts";
import { type Communicator, CommunicatorError, type ReduceOp } from "./communicator.ts";
import {
  checkCount,
  checkPeer,
  checkRank,
  checkReduction,
  checkSplit,
} from "./transfer_arguments.ts";

/** Options of {@linkcode SingleRankCommunicator}. */
export interface SingleRankOptions {
  /** Copies `byteLength` bytes inside the rank's device, as `Device.copy` does; in host memory when left out. */
  readonly copy?: (destination: bigint, source: bigint, byteLength: number) => void;
}

/**
 * A group of one rank: in-place operations leave their buffer alone, the others copy.
 *
 * @example
 * ```ts
 * import { SingleRankCommunicator } from "@weft/weft";
 * using world = new SingleRankCommunicator();
 * console.log(world.size); // 1
 * ```
 */
export class SingleRankCommunicator implements Communicator {
  /** Always 0. */
  readonly rank = 0;
  /** Always 1. */
  readonly size = 1;
  /** Always `single`. */
  readonly kind = "single";
  readonly #copy: (destination: bigint, source: bigint, byteLength: number) => void;
  #aborted: string | null = null;

  /** A group of one rank whose buffers `copy` can reach. */
  constructor(options: SingleRankOptions = {}) {
    this.#copy = options.copy ?? copyHostMemory;
  }

  /** Leaves the buffer as it is. */
  allReduce(
    _buffer: bigint,
    count: number,
    options: { dtype?: DType; op?: ReduceOp } = {},
  ): void {
    checkCount("allReduce", count);
    checkReduction("allReduce", options.dtype ?? "f32", options.op ?? "sum");
    this.#check("allReduce");
  }

  /** Copies `input` to `output`. */
  allGather(output: bigint, input: bigint, count: number, options: { dtype?: DType } = {}): void {
    checkCount("allGather", count);
    this.#check("allGather");
    this.#move(output, input, count * dtypeBytes(options.dtype ?? "f32"));
  }

  /** Copies `input` to `output`. */
  reduceScatter(
    output: bigint,
    input: bigint,
    count: number,
    options: { dtype?: DType; op?: ReduceOp } = {},
  ): void {
    const { dtype = "f32", op = "sum" } = options;
    checkCount("reduceScatter", count);
    checkReduction("reduceScatter", dtype, op);
    this.#check("reduceScatter");
    this.#move(output, input, count * dtypeBytes(dtype));
  }

  /** Leaves the buffer as it is. */
  broadcast(_buffer: bigint, count: number, options: { root: number; dtype?: DType }): void {
    checkCount("broadcast", count);
    checkRank("broadcast", options.root, 1);
    this.#check("broadcast");
  }

  /** Throws RangeError: there is no peer. */
  send(_buffer: bigint, _count: number, options: { peer: number; dtype?: DType }): void {
    checkPeer("send", options.peer, this);
  }

  /** Throws RangeError: there is no peer. */
  recv(_buffer: bigint, _count: number, options: { peer: number; dtype?: DType }): void {
    checkPeer("recv", options.peer, this);
  }

  /** Returns at once. */
  barrier(): void {
    this.#check("barrier");
  }

  /** Another group of this rank alone. */
  split(color: number, key: number): SingleRankCommunicator {
    checkSplit(color, key);
    this.#check("split");
    return new SingleRankCommunicator({ copy: this.#copy });
  }

  /** Makes later operations fail with `reason`; the first reason stays. */
  abort(reason: string): void {
    this.#aborted ??= reason;
  }

  #move(output: bigint, input: bigint, byteLength: number): void {
    if (output !== input && byteLength > 0) this.#copy(output, input, byteLength);
  }

  #check(operation: string): void {
    if (this.#aborted === null) return;
    throw new CommunicatorError(
      `Cannot complete ${operation} on rank 0 of 1 as the group was aborted: ${this.#aborted}`,
      { operation, rank: 0 },
    );
  }

  /** Holds nothing that must be freed. */
  [Symbol.dispose](): void {}
}

function copyHostMemory(destination: bigint, source: bigint, byteLength: number): void {
  hostBytes(destination, byteLength).set(hostBytes(source, byteLength));
}

function hostBytes(address: bigint, byteLength: number): Uint8Array {
  const pointer = Deno.UnsafePointer.create(address);
  if (pointer === null) throw new RangeError("Cannot copy memory as its address is null");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
}
