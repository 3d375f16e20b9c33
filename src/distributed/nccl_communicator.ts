/**
 * The communicator of GPUs: NCCL moves and adds the data, in the order of each device's stream.
 * @module
 */
import { openNccl } from "../native/nccl.ts";
import type { Nccl } from "../native/nccl.ts";
import { NcclConstant, NcclDataType, NcclReduction } from "../native/nccl_types.ts";
import type { CudaStream } from "../tensor/cuda/stream.ts";
import type { DeviceMemory } from "../tensor/device.ts";
import type { DType } from "../tensor/dtype.ts";
import { type Communicator, CommunicatorError, type ReduceOp } from "./communicator.ts";
import { NcclMemory } from "./nccl_memory.ts";
import { SingleRankCommunicator } from "./single_rank_communicator.ts";
import {
  checkCount,
  checkPeer,
  checkRank,
  checkReduction,
  checkSplit,
} from "./transfer_arguments.ts";

/** The GPU that a {@linkcode NcclCommunicator} works on. */
export interface NcclDevice extends DeviceMemory {
  /** Where operations are queued. */
  readonly stream: CudaStream;
}

/** Options of {@linkcode NcclCommunicator.create}. */
export interface NcclCommunicatorOptions {
  /** Deadline of what depends on other ranks, in milliseconds. */
  readonly timeoutMs: number;
}

const DATA_TYPES: Readonly<Record<DType, number>> = {
  f64: NcclDataType.ncclFloat64,
  f32: NcclDataType.ncclFloat32,
  f16: NcclDataType.ncclFloat16,
  bf16: NcclDataType.ncclBfloat16,
  i64: NcclDataType.ncclInt64,
  i32: NcclDataType.ncclInt32,
  u8: NcclDataType.ncclUint8,
};

const REDUCTIONS: Readonly<Record<ReduceOp, number>> = {
  sum: NcclReduction.ncclSum,
  max: NcclReduction.ncclMax,
  min: NcclReduction.ncclMin,
};

/**
 * Collectives and transfers between GPUs. Operations are queued behind the kernels of the device and
 * return at once; they can be recorded. Sums are in NCCL's order, the same on every rank but not the
 * tree of the CPU. NCCL is never waited for without a bound: a communicator that stands still or reports
 * an error is given up on each rank, with {@linkcode CommunicatorError}.
 *
 * The control group, host memory on one machine, carries NCCL's identity and barriers.
 */
export class NcclCommunicator implements Communicator {
  /** This rank's place in the group. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Always `nccl`. */
  readonly kind = "nccl";
  readonly #nccl: Nccl;
  readonly #device: NcclDevice;
  readonly #control: Communicator;
  readonly #timeoutMs: number;
  readonly #owned = new DisposableStack();
  #handle: bigint;
  #isRecorded = false;
  #failed: string | null = null;

  private constructor(
    nccl: Nccl,
    handle: bigint,
    options: { device: NcclDevice; control: Communicator; timeoutMs: number },
  ) {
    const { device, control, timeoutMs } = options;
    this.rank = control.rank;
    this.size = control.size;
    this.#nccl = nccl;
    this.#handle = handle;
    this.#device = device;
    this.#control = control;
    this.#timeoutMs = timeoutMs;
    this.#wait("init");
    // Whoever waits for the stream learns why it stands still.
    this.#owned.use(device.stream.watch(() => this.#poll("the work of the stream")));
  }

  /**
   * A communicator of the ranks of `control`, each with a GPU of its own; every rank calls it. Throws
   * LibraryError without NCCL, CommunicatorError when the ranks don't find each other in time.
   */
  static create(
    control: Communicator,
    device: NcclDevice,
    options: NcclCommunicatorOptions,
  ): NcclCommunicator {
    const { rank, size: rankCount } = control;
    using resources = new DisposableStack();
    const nccl = resources.use(openNccl());
    const id = rank === 0 ? nccl.getUniqueId() : new Uint8Array(NcclConstant.NCCL_UNIQUE_ID_BYTES);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(id));
    control.broadcast(address, id.length, { root: 0, dtype: "u8" });
    const { value: handle } = nccl.commInitRank({ id, rankCount, rank });
    const communicator = new NcclCommunicator(nccl, handle, { device, control, ...options });
    communicator.#owned.use(resources.move());
    return communicator;
  }

  /** Memory that NCCL reduces fastest: registered on all ranks, where NCCL 2.27 or later offers it. */
  reducedMemory(memory: DeviceMemory): DeviceMemory {
    if (!this.#nccl.hasWindows) return memory;
    return new NcclMemory(this.#nccl, {
      communicator: this.#open("register memory"),
      memory,
      isOpen: () => this.#handle !== 0n,
      wait: () => this.#wait("register memory"),
    });
  }

  /** See {@linkcode Communicator.allReduce}; sums are in NCCL's order. Refuses f16 and bf16. */
  allReduce(buffer: bigint, count: number, options: { dtype?: DType; op?: ReduceOp } = {}): void {
    const { dtype = "f32", op = "sum" } = options;
    checkCount("allReduce", count);
    checkReduction("allReduce", dtype, op);
    const [type, reduction] = [DATA_TYPES[dtype], REDUCTIONS[op]];
    this.#run(
      "allReduce",
      (handle, stream) =>
        this.#nccl.allReduce(buffer, buffer, BigInt(count), type, reduction, handle, stream),
    );
  }

  /** See {@linkcode Communicator.allGather}. */
  allGather(output: bigint, input: bigint, count: number, options: { dtype?: DType } = {}): void {
    checkCount("allGather", count);
    const type = DATA_TYPES[options.dtype ?? "f32"];
    this.#run(
      "allGather",
      (handle, stream) => this.#nccl.allGather(input, output, BigInt(count), type, handle, stream),
    );
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
    const [type, reduction] = [DATA_TYPES[dtype], REDUCTIONS[op]];
    this.#run(
      "reduceScatter",
      (handle, stream) =>
        this.#nccl.reduceScatter(input, output, BigInt(count), type, reduction, handle, stream),
    );
  }

  /** See {@linkcode Communicator.broadcast}. */
  broadcast(buffer: bigint, count: number, options: { root: number; dtype?: DType }): void {
    const { root, dtype = "f32" } = options;
    checkCount("broadcast", count);
    checkRank("broadcast", root, this.size);
    const type = DATA_TYPES[dtype];
    this.#run(
      "broadcast",
      (handle, stream) =>
        this.#nccl.broadcast(buffer, buffer, BigInt(count), type, root, handle, stream),
    );
  }

  /** See {@linkcode Communicator.send}. */
  send(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void {
    const { peer, dtype = "f32" } = options;
    checkCount("send", count);
    checkPeer("send", peer, this);
    const type = DATA_TYPES[dtype];
    this.#run(
      "send",
      (handle, stream) => this.#nccl.send(buffer, BigInt(count), type, peer, handle, stream),
    );
  }

  /** See {@linkcode Communicator.recv}. */
  recv(buffer: bigint, count: number, options: { peer: number; dtype?: DType }): void {
    const { peer, dtype = "f32" } = options;
    checkCount("recv", count);
    checkPeer("recv", peer, this);
    const type = DATA_TYPES[dtype];
    this.#run(
      "recv",
      (handle, stream) => this.#nccl.recv(buffer, BigInt(count), type, peer, handle, stream),
    );
  }

  /** Returns when every rank has called it; work on the devices may go on. */
  barrier(): void {
    this.#open("barrier");
    this.#control.barrier();
  }

  /** See {@linkcode Communicator.split}. */
  split(color: number, key: number): Communicator {
    checkSplit(color, key);
    const parent = this.#open("split");
    using resources = new DisposableStack();
    const control = resources.use(this.#control.split(color, key));
    const alone = control.size === 1;
    const nccl = this.#nccl;
    const child = nccl.commSplit(parent, alone ? NcclConstant.NCCL_SPLIT_NOCOLOR : color, key);
    this.#wait("split");
    if (alone) return new SingleRankCommunicator({ copy: this.#device.copy });
    const options = { device: this.#device, control, timeoutMs: this.#timeoutMs };
    const group = new NcclCommunicator(nccl, child.value, options);
    group.#owned.use(resources.move());
    return group;
  }

  /** Gives NCCL up on this rank, and makes the operations of every rank fail with `reason`. */
  abort(reason: string): void {
    // The others first: NCCL may take its time.
    this.#control.abort(reason);
    this.#giveUp(reason);
  }

  /** Queues an operation; NCCL may go on with it on a thread of its own, which is awaited. */
  #run(operation: string, queue: (handle: bigint, stream: bigint) => boolean): void {
    const handle = this.#open(operation);
    if (this.#device.stream.recording) this.#isRecorded = true;
    try {
      if (queue(handle, this.#device.stream.handle)) return;
    } catch (error) {
      throw this.#failure(operation, error);
    }
    this.#wait(operation);
  }

  /** Waits until NCCL has done what it was asked, under the deadline. */
  #wait(operation: string): void {
    try {
      this.#device.stream.waitUntil(
        () => this.#nccl.commGetAsyncError(this.#handle),
        `NCCL to ${operation}`,
        this.#timeoutMs,
      );
    } catch (error) {
      throw this.#failure(operation, error);
    }
  }

  /** Throws what went wrong in the background. */
  #poll(operation: string): void {
    try {
      if (this.#handle !== 0n) this.#nccl.commGetAsyncError(this.#handle);
    } catch (error) {
      throw this.#failure(operation, error);
    }
  }

  #open(operation: string): bigint {
    if (this.#failed !== null) {
      throw this.#error(operation, `the group was aborted: ${this.#failed}`);
    }
    if (this.#handle === 0n) {
      throw new Error(`Cannot communicate as rank ${this.rank}'s communicator is disposed`);
    }
    return this.#handle;
  }

  #failure(operation: string, cause: unknown): CommunicatorError {
    if (cause instanceof CommunicatorError) return cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.abort(reason);
    return this.#error(operation, reason, cause);
  }

  #error(operation: string, reason: string, cause?: unknown): CommunicatorError {
    const { rank, size } = this;
    return new CommunicatorError(
      `Cannot complete ${operation} on rank ${rank} of ${size}: ${reason}`,
      { operation, rank, cause },
    );
  }

  #giveUp(reason: string): void {
    if (this.#failed !== null) return;
    this.#failed = reason;
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle === 0n) return;
    // NCCL would wait for the end of those recordings: the end of the process takes both away.
    if (this.#isHeld) this.#device.stream.abandon();
    else this.#nccl.commAbort(handle);
  }

  /**
   * Whether recordings may hold operations, of this group or, on a GPU that failed, of another: NCCL
   * waits, without a bound, until they are destroyed.
   */
  get #isHeld(): boolean {
    const { recording, recordings, failed } = this.#device.stream;
    return (recording || recordings > 0) && (this.#isRecorded || failed);
  }

  /** Ends the communicator: after its operations when all is well, at once when something failed. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle !== 0n) {
      try {
        if (this.#device.stream.failed) throw new Error("its device has failed");
        if (this.#isHeld) throw new Error("recordings hold its operations");
        this.#device.stream.synchronize();
        if (!this.#nccl.commFinalize(handle)) this.#wait("finalize");
        this.#handle = 0n;
        this.#nccl.commDestroy(handle);
      } catch {
        // Another rank is gone: there is nobody to end it with.
        this.#giveUp("it could not be ended in order");
      }
    }
    this.#owned.dispose();
  }
}
