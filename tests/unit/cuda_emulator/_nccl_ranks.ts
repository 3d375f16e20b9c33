/** Ranks that use the emulated NCCL through its bindings; each returns what it saw. */
import type { RankContext } from "../../../src/distributed/launcher.ts";
import { addressOf } from "../../../src/native/c_declarations.ts";
import { openCudart } from "../../../src/native/cudart.ts";
import { CudaMemcpyKind } from "../../../src/native/cudart_types.ts";
import { NativeError } from "../../../src/native/native_error.ts";
import { type Nccl, openNccl } from "../../../src/native/nccl.ts";
import { NcclDataType, NcclReduction } from "../../../src/native/nccl_types.ts";
import { EmulatorControls } from "../../cuda_emulator/controls.ts";

/** What the ranks do. */
export type Scenario =
  | "types"
  | "exchange"
  | "idle peer"
  | "mismatch"
  | "early use"
  | "window sizes"
  | "injected remote error"
  | "injected hang"
  | "injected init hang"
  | "same device";

const { ncclSum, ncclMax, ncclAvg } = NcclReduction;
const COUNT = 40;

/** One rank's end of the emulated NCCL. */
class Rank {
  readonly cudart = openCudart();
  readonly nccl: Nccl = openNccl();
  readonly controls = new EmulatorControls(Deno.env.get("WEFT_CUDART_PATH")!);
  readonly rank: number;
  readonly stream: bigint;
  /** Answers "not yet" that came before the communicator was there. */
  waits = 0;

  constructor({ world }: RankContext<unknown>, device = world.rank) {
    this.rank = world.rank;
    this.cudart.setDevice(device);
    this.stream = this.cudart.streamCreateWithFlags(1);
    const id = world.rank === 0 ? this.nccl.getUniqueId() : new Uint8Array(128);
    world.broadcast(addressOf(id), id.length, { root: 0, dtype: "u8" });
    this.#handle = this.nccl.commInitRank({ id, rankCount: world.size, rank: world.rank });
  }

  readonly #handle: { readonly value: bigint };

  get communicator(): bigint {
    return this.#handle.value;
  }

  /** Polls until `isDone`, at most for `timeoutMs`; false when time is up. */
  poll(isDone: () => boolean, timeoutMs = 10_000): boolean {
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    for (const end = Date.now() + timeoutMs; Date.now() < end;) {
      if (isDone()) return true;
      this.waits++;
      Atomics.wait(sleeper, 0, 0, 1);
    }
    return false;
  }

  /** Waits until NCCL has done what it was asked. */
  ready(): this {
    this.poll(() => this.nccl.commGetAsyncError(this.communicator));
    return this;
  }

  memory(values: ArrayBufferView<ArrayBuffer>): bigint {
    const address = this.cudart.malloc(values.byteLength);
    const kind = CudaMemcpyKind.cudaMemcpyHostToDevice;
    const size = BigInt(values.byteLength);
    this.cudart.memcpyAsync(address, addressOf(values), size, kind, this.stream);
    this.cudart.streamSynchronize(this.stream);
    return address;
  }

  read<T extends ArrayBufferView<ArrayBuffer>>(address: bigint, values: T): T {
    const kind = CudaMemcpyKind.cudaMemcpyDeviceToHost;
    const size = BigInt(values.byteLength);
    this.cudart.memcpyAsync(addressOf(values), address, size, kind, this.stream);
    return values;
  }

  /** Queues an all-reduce in place. */
  allReduce(
    address: bigint,
    count = COUNT,
    type: number = NcclDataType.ncclFloat32,
    op: number = ncclSum,
  ): void {
    const { nccl, communicator, stream } = this;
    nccl.allReduce(address, address, BigInt(count), type, op, communicator, stream);
  }

  /** Ends in order; what was left. */
  end(memory: readonly bigint[]): string[] {
    this.cudart.streamSynchronize(this.stream);
    if (!this.nccl.commFinalize(this.communicator)) this.ready();
    this.nccl.commDestroy(this.communicator);
    for (const address of memory) this.cudart.free(address);
    this.cudart.streamDestroy(this.stream);
    return this.controls.takeMisuses();
  }
}

/** Runs one scenario. */
export function rankMain(context: RankContext<Scenario>): string[] {
  return SCENARIOS[context.args](context);
}

const SCENARIOS: Record<Scenario, (context: RankContext<Scenario>) => string[]> = {
  "types": (context) => {
    const rank = new Rank(context).ready();
    const { size } = context.world;
    const seen: string[] = [`waited ${rank.waits > 0}`];
    const half = (value: number) => new Uint16Array(Float32Array.of(value).buffer)[1];
    const cases: [number, number, ArrayBufferView<ArrayBuffer>][] = [
      [NcclDataType.ncclUint8, ncclMax, new Uint8Array(COUNT).fill(rank.rank)],
      [NcclDataType.ncclInt64, ncclSum, new BigInt64Array(COUNT).fill(BigInt(rank.rank) - 2n)],
      [NcclDataType.ncclFloat64, ncclAvg, new Float64Array(COUNT).fill(rank.rank)],
      [NcclDataType.ncclFloat16, ncclSum, new Float16Array(COUNT).fill(rank.rank + 0.5)],
      [NcclDataType.ncclBfloat16, ncclSum, new Uint16Array(COUNT).fill(half(rank.rank + 1))],
    ];
    const memory = cases.map(([type, op, values]) => {
      const address = rank.memory(values);
      rank.allReduce(address, COUNT, type, op);
      rank.ready();
      const found = rank.read(address, values) as unknown as ArrayLike<unknown>;
      seen.push(`${found[COUNT - 1]}`);
      return address;
    });
    seen[5] = `${seen[5] === `${half(size * (size + 1) / 2)}`}`;
    return [...seen, ...rank.end(memory)];
  },

  "exchange": (context) => {
    const rank = new Rank(context).ready();
    const { nccl, communicator, stream } = rank;
    const { size } = context.world;
    const [out, into] = [
      rank.memory(Int32Array.from({ length: size }, (_, peer) => 10 * rank.rank + peer)),
      rank.memory(new Int32Array(size)),
    ];
    nccl.groupStart();
    for (let peer = 0; peer < size; peer++) {
      const offset = BigInt(4 * peer);
      const type = NcclDataType.ncclInt32;
      nccl.send(out + offset, 1n, type, peer, communicator, stream);
      nccl.recv(into + offset, 1n, type, peer, communicator, stream);
    }
    if (!nccl.groupEnd()) rank.ready();
    const found = rank.read(into, new Int32Array(size));
    return [found.join(), ...rank.end([out, into])];
  },

  // Rank 0 queues its part and does something else; its peers get their results all the same.
  "idle peer": (context) => {
    const rank = new Rank(context).ready();
    const address = rank.memory(new Float32Array(COUNT).fill(1));
    rank.allReduce(address);
    rank.ready();
    if (rank.rank !== 0) rank.cudart.streamSynchronize(rank.stream);
    context.world.barrier();
    const found = rank.read(address, new Float32Array(COUNT));
    return [`${found[0]}`, ...rank.end([address])];
  },

  "mismatch": (context) => {
    const rank = new Rank(context).ready();
    const address = rank.memory(new Float32Array(COUNT));
    rank.allReduce(address, COUNT - rank.rank);
    rank.ready();
    return [failure(() => rank.cudart.streamSynchronize(rank.stream))];
  },

  "early use": (context) => {
    const rank = new Rank(context).ready();
    const address = rank.memory(new Float32Array(COUNT));
    rank.allReduce(address);
    rank.cudart.memsetAsync(address, 0, 4n, rank.stream);
    rank.ready();
    return rank.end([address]);
  },

  "window sizes": (context) => {
    const rank = new Rank(context).ready();
    const { nccl, communicator } = rank;
    const address = nccl.memAlloc(8192);
    const plain = rank.memory(new Uint8Array(8192));
    const window = nccl.commWindowRegister(communicator, address, 8192, 1);
    rank.ready();
    const seen = [
      `${window.value !== 0n}`,
      failure(() => nccl.commWindowRegister(communicator, plain, 8192, 1)),
    ];
    nccl.commWindowDeregister(communicator, window.value);
    nccl.commWindowRegister(communicator, address, 4096 * (1 + rank.rank), 1);
    seen.push(failure(() => rank.ready()));
    // A rank that aborts earlier would be what the other one sees.
    context.world.barrier();
    nccl.commAbort(communicator);
    return seen;
  },

  "injected remote error": (context) => {
    const rank = new Rank(context).ready();
    if (rank.rank === 0) rank.controls.injectFailures("nccl_remote_error=2");
    return endless(rank);
  },

  "injected hang": (context) => {
    const rank = new Rank(context).ready();
    if (rank.rank === 0) rank.controls.injectFailures("nccl_hang=2");
    return endless(rank);
  },

  "injected init hang": (context) => {
    const { WEFT_CUDART_PATH } = Deno.env.toObject();
    using controls = new EmulatorControls(WEFT_CUDART_PATH);
    if (context.world.rank === 0) controls.injectFailures("nccl_init_hang=1");
    const rank = new Rank(context);
    const isReady = () => rank.nccl.commGetAsyncError(rank.communicator);
    const seen = [`${rank.poll(isReady, 200)}`];
    context.world.barrier();
    rank.nccl.commAbort(rank.communicator);
    return seen;
  },

  "same device": (context) => {
    const rank = new Rank(context, 0);
    const seen = [failure(() => rank.ready())];
    context.world.barrier();
    rank.nccl.commAbort(rank.communicator);
    return seen;
  },
};

/** Two all-reduces of which the second never ends; what each rank sees until all have aborted. */
function endless(rank: Rank): string[] {
  const address = rank.memory(new Float32Array(COUNT).fill(1));
  rank.allReduce(address);
  rank.ready();
  rank.cudart.streamSynchronize(rank.stream);
  rank.allReduce(address);
  const ended = rank.poll(() => rank.cudart.streamQuery(rank.stream), 100);
  const seen = [`${ended}`];
  if (rank.rank === 0) {
    seen.push(failure(() => rank.nccl.commGetAsyncError(rank.communicator)));
    rank.nccl.commAbort(rank.communicator);
  } else {
    // Others learn of it when a rank has aborted, and end their own part by aborting too.
    const error = () => rank.poll(() => !rank.nccl.commGetAsyncError(rank.communicator), 5000);
    seen.push(failure(error));
    rank.nccl.commAbort(rank.communicator);
  }
  seen.push(`${rank.poll(() => rank.cudart.streamQuery(rank.stream), 1000)}`);
  rank.cudart.free(address);
  rank.cudart.streamDestroy(rank.stream);
  return [...seen, ...rank.controls.leaks()];
}

function failure(call: () => unknown): string {
  try {
    call();
    return "none";
  } catch (error) {
    if (error instanceof NativeError) return `${error.function} ${error.status}`;
    throw error;
  }
}
