/**
 * The communicator of ranks on one machine, threads or processes, over one shared region.
 * @module
 */
import type { DType } from "../tensor/dtype.ts";
import {
  type CommunicationLibrary,
  type HostBuffer,
  REDUCTION_CODES,
  TYPE_CODES,
} from "../native/communication.ts";
import { AbortFlag, SharedMemory } from "../native/shared_memory.ts";
import { type Communicator, CommunicatorError, type ReduceOp } from "./communicator.ts";
import {
  type CallOperands,
  describeFailure,
  type GroupOperation,
} from "./shared_memory_failure.ts";
import { gatherBytes } from "./gather_bytes.ts";
import { createGroupRegion, DEFAULT_TIMEOUT_MS } from "./shared_memory_region.ts";
import { SingleRankCommunicator } from "./single_rank_communicator.ts";
import {
  checkCount,
  checkPeer,
  checkRank,
  checkReduction,
  checkSplit,
} from "./transfer_arguments.ts";

/** Options of {@linkcode SharedMemoryCommunicator}. */
export interface SharedMemoryCommunicatorOptions {
  /** This rank's place in the group. */
  readonly rank: number;
  /** Number of ranks in the group; the region must have been made for as many. */
  readonly size: number;
  /** Region made by `createGroupRegion`, mapped by this rank. */
  readonly memory: SharedMemory;
  /** Flag that ends the waits of the whole launch; the one at the start of `memory` when left out. */
  readonly abortFlag?: AbortFlag;
  /** Deadline of each operation in milliseconds; 60000 when left out. */
  readonly timeoutMs?: number;
  /** Bytes of each channel of the groups that split off; 1 MiB when left out. */
  readonly channelBytes?: number;
  /**
   * How long a wait spins before it sleeps, in microseconds; 0 (the default) sleeps at once. Spin only
   * when every thread of every rank has a core of its own.
   */
  readonly spinMicroseconds?: number;
  /** World ranks of the members, in order; 0, 1, 2, ... when left out. */
  readonly members?: readonly number[];
  /** True when disposing the communicator also disposes `memory`. */
  readonly ownsMemory?: boolean;
}

/**
 * Moves data between ranks of one machine in C. Sums follow one tree over the ranks. Ranks that call
 * different operations, types or counts in the same place are told so, both of them. A failure ends
 * all groups that were split from the same world: there is one abort flag for all.
 *
 * Ranks get one from their launcher, as `context.world`.
 */
export class SharedMemoryCommunicator implements Communicator {
  /** This rank's place in the group. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Always `shared-memory`. */
  readonly kind = "shared-memory";
  readonly #library: CommunicationLibrary;
  readonly #options: SharedMemoryCommunicatorOptions;
  readonly #members: readonly number[];
  readonly #abortFlag: AbortFlag;
  readonly #timeoutMs: number;
  #group: bigint;

  /**
   * This rank's end of the group in `options.memory`. `library`, `memory` and the abort flag's memory
   * must outlive it. Throws RangeError when the region was made for another size or a number is out of range.
   */
  constructor(library: CommunicationLibrary, options: SharedMemoryCommunicatorOptions) {
    const { rank, size, memory, timeoutMs = DEFAULT_TIMEOUT_MS, spinMicroseconds = 0 } = options;
    checkDuration("timeoutMs", timeoutMs);
    checkDuration("spinMicroseconds", spinMicroseconds);
    this.rank = rank;
    this.size = size;
    this.#library = library;
    this.#options = options;
    this.#members = options.members ?? Array.from({ length: size }, (_, index) => index);
    this.#abortFlag = options.abortFlag ?? new AbortFlag(library, memory);
    this.#timeoutMs = timeoutMs;
    this.#group = library.symbols.weft_group_open(
      memory.address,
      BigInt(memory.byteLength),
      rank,
      size,
      this.#abortFlag.address,
      BigInt(Math.round(timeoutMs * 1e6)),
      BigInt(Math.round(spinMicroseconds * 1e3)),
    );
    if (this.#group === 0n) {
      throw new RangeError(
        `Cannot open the group as its region was not made for rank ${rank} of ${size}: it has ` +
          `${memory.byteLength} bytes`,
      );
    }
  }

  /** See {@linkcode Communicator.hostBuffer}. */
  hostBuffer(byteLength: number): HostBuffer | undefined {
    return this.#library.hostBuffer?.(byteLength);
  }

  /** See {@linkcode Communicator.allReduce}. Refuses f16 and bf16. */
  allReduce(buffer: bigint, count: number, options: { dtype?: DType; op?: ReduceOp } = {}): void {
    const { dtype = "f32", op = "sum" } = options;
    checkCount("allReduce", count);
    checkReduction("allReduce", dtype, op);
    const [type, detail] = [TYPE_CODES[dtype], REDUCTION_CODES[op]];
    const { symbols } = this.#library;
    const status = symbols.weft_group_all_reduce(this.#open(), buffer, count, type, detail);
    if (status < 0) throw this.#failure("allReduce", status, { type, detail, count });
  }

  /** See {@linkcode Communicator.allGather}. `input` may be this rank's own part of `output`. */
  allGather(output: bigint, input: bigint, count: number, options: { dtype?: DType } = {}): void {
    checkCount("allGather", count);
    const type = TYPE_CODES[options.dtype ?? "f32"];
    const { symbols } = this.#library;
    const status = symbols.weft_group_all_gather(this.#open(), output, input, count, type);
    if (status < 0) throw this.#failure("allGather", status, { type, count });
  }

  /** See {@linkcode Communicator.reduceScatter}. Refuses f16 and bf16. */
  reduceScatter(
    output: bigint,
    input: bigint,
    count: number,
    options: { dtype?: DType; op?: ReduceOp } = {},
  ): void {
    const { dtype = "f32", op = "sum" } = options;
    checkCount("reduceScatter", count);
    checkReduction("reduceScatter", dtype, op);
    const [type, detail] = [TYPE_CODES[dtype], REDUCTION_CODES[op]];
    const group = this.#open();
    const status = this.#library.symbols
      .weft_group_reduce_scatter(group, output, input, count, type, detail);
    if (status < 0) throw this.#failure("reduceScatter", status, { type, detail, count });
  }

  /** See {@linkcode Communicator.broadcast}. */
  broadcast(buffer: bigint, count: number, options: { root: number; dtype?: DType }): void {
    const { root, dtype = "f32" } = options;
    checkCount("broadcast", count);
    checkRank("broadcast", root, this.size);
    const type = TYPE_CODES[dtype];
    const { symbols } = this.#library;
    const status = symbols.weft_group_broadcast(this.#open(), buffer, count, type, root);
    if (status < 0) throw this.#failure("broadcast", status, { type, detail: root, count });
  }

  /** See {@linkcode Communicator.send}. Returns when the rest of the message fits the channel. */
  send(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void {
    const { peer, dtype = "f32" } = options;
    checkCount("send", count);
    checkPeer("send", peer, this);
    const type = TYPE_CODES[dtype];
    const status = this.#library.symbols
      .weft_group_send(this.#open(), buffer, count, type, peer);
    if (status < 0) throw this.#failure("send", status, { type, count });
  }

  /** See {@linkcode Communicator.recv}. */
  recv(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void {
    const { peer, dtype = "f32" } = options;
    checkCount("recv", count);
    checkPeer("recv", peer, this);
    const type = TYPE_CODES[dtype];
    const status = this.#library.symbols
      .weft_group_recv(this.#open(), buffer, count, type, peer);
    if (status < 0) throw this.#failure("recv", status, { type, count });
  }

  /** See {@linkcode Communicator.barrier}. */
  barrier(): void {
    const status = this.#library.symbols.weft_group_barrier(this.#open());
    if (status < 0) throw this.#failure("barrier", status, {});
  }

  /**
   * See {@linkcode Communicator.split}. The new group has a region of its own: the groups of a launch may
   * be disposed in any order.
   */
  split(color: number, key: number): Communicator {
    checkSplit(color, key);
    const [colors, keys] = this.#exchange(color, key);
    const ranks = colors.keys().filter((rank) => colors[rank] === color).toArray()
      .sort((a, b) => keys[a] - keys[b] || a - b);
    const leader = ranks[0];
    const alone = ranks.length === 1;
    let memory: SharedMemory | null = null;
    try {
      if (leader === this.rank && !alone) {
        const { channelBytes } = this.#options;
        memory = createGroupRegion(this.#library, { size: ranks.length, channelBytes });
      }
      const { regions } = this.#library;
      const place = memory === null ? [-1, -1] : regions.placeOf(memory.handle.path);
      const [owners, numbers, byteLengths] = this.#exchange(...place, memory?.byteLength ?? 0);
      if (leader !== this.rank) {
        memory = SharedMemory.open(this.#library, {
          path: regions.pathOf([owners[leader], numbers[leader]]),
          byteLength: byteLengths[leader],
        });
      }
      this.barrier();
    } catch (error) {
      memory?.[Symbol.dispose]();
      if (!(error instanceof CommunicatorError)) this.abort(`Cannot split the group: ${error}`);
      throw error;
    }
    if (memory === null) return this.#alone();
    memory.closeDescriptor();
    return new SharedMemoryCommunicator(this.#library, {
      ...this.#options,
      rank: ranks.indexOf(this.rank),
      size: ranks.length,
      memory,
      abortFlag: this.#abortFlag,
      members: ranks.map((rank) => this.#members[rank]),
      ownsMemory: true,
    });
  }

  /** See {@linkcode Communicator.abort}. Ends every group of the launch. */
  abort(reason: string): void {
    this.#abortFlag.raise(reason, this.#members[this.rank]);
  }

  /** Every rank's `values`, one array per value. */
  #exchange(...values: number[]): Float64Array[] {
    const bytes = gatherBytes(this, new Uint8Array(Float64Array.from(values).buffer));
    const ranks = bytes.map(({ buffer }) => new Float64Array(buffer));
    return values.map((_, index) => Float64Array.from(ranks, (numbers) => numbers[index]));
  }

  /** A group of this rank, whose operands lie where this group's do. */
  #alone(): SingleRankCommunicator {
    const { weft_copy } = this.#library.symbols;
    return new SingleRankCommunicator({
      copy: (destination, source, bytes) => weft_copy(destination, source, BigInt(bytes)),
    });
  }

  #open(): bigint {
    if (this.#group === 0n) {
      throw new Error(`Cannot communicate as rank ${this.rank}'s communicator is disposed`);
    }
    return this.#group;
  }

  #failure(operation: GroupOperation, status: number, call: CallOperands): CommunicatorError {
    const message = describeFailure(this.#library, {
      address: this.#group,
      rank: this.rank,
      members: this.#members,
      timeoutMs: this.#timeoutMs,
      abortFlag: this.#abortFlag,
    }, { operation, status, call });
    this.abort(message);
    return new CommunicatorError(message, { operation, rank: this.#members[this.rank] });
  }

  /** Closes this rank's end; the others keep theirs. */
  [Symbol.dispose](): void {
    if (this.#group === 0n) return;
    this.#library.symbols.weft_group_close(this.#group);
    this.#group = 0n;
    if (this.#options.ownsMemory) this.#options.memory[Symbol.dispose]();
  }
}

function checkDuration(name: string, value: number): void {
  if (!Number.isFinite(value) || value < 0 || value > 1e9) {
    throw new RangeError(
      `Cannot open a communicator as ${name} is not a number from 0 to 1e9: ${value}`,
    );
  }
}
