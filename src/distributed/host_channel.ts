/**
 * The host channel between a replica's leader and its ranks: plans out, tokens across, results back.
 * @module
 */
import { type CommunicationLibrary, STATUS } from "../native/communication.ts";
import { SharedEvent } from "../native/shared_event.ts";
import { AbortFlag, type AbortReason, SharedMemory } from "../native/shared_memory.ts";
import { openCommunication } from "../native/wasm_communication.ts";
import { CommunicatorError } from "./communicator.ts";
import {
  type HostChannelHandle,
  type HostChannelLayout,
  type HostChannelSizes,
  layOutHostChannel,
  LINE_BYTES,
  STARTUP_STATES,
} from "./host_channel_layout.ts";

/** How far a rank has come with starting. */
export interface RankStartup {
  /** What it does. */
  readonly state: typeof STARTUP_STATES[number];
  /** Share of its weights that is loaded, from 0 to 1. */
  readonly fraction: number;
  /** Why it failed, or what it said when it was ready; empty before. */
  readonly text: string;
}

/** Longest result that the leader accepts, in bytes: a length beyond it is not one that a rank wrote. */
const MAX_RESULT_BYTES = 2 ** 30;
const POLL_NS = 50_000_000n;
/** How long the rest of a result may take once its beginning has come. */
const RESULT_DEADLINE_NS = 10_000_000_000n;
/** From the event that counts the bytes written to the ring to that of the bytes read. */
const TAIL_OFFSET: bigint = BigInt(LINE_BYTES);
const STARTUP_POLL_MS = 10;

/**
 * The leader's end of a host channel, over one shared region. Nothing here blocks the leader's event loop.
 * The region's abort flag can be that of a launch too ({@linkcode LaunchOptions.abortMemory}): then the death
 * of a rank makes {@linkcode next} throw, and aborting the channel ends the ranks' communication.
 *
 * Ranks open it with `RankChannel.open(handle, { rank })`.
 */
export class HostChannel implements AsyncDisposable {
  /** What ranks need to open the channel. */
  readonly handle: HostChannelHandle;
  readonly #library: CommunicationLibrary;
  readonly #memory: SharedMemory;
  readonly #layout: HostChannelLayout;
  readonly #abortFlag: AbortFlag;
  readonly #published: SharedEvent;
  readonly #consumed: readonly SharedEvent[];
  readonly #startup: readonly SharedEvent[];
  readonly #plans: Uint8Array;
  readonly #planLengths: Uint32Array;
  #publishedCount = 0;
  #pending: Promise<Uint8Array | null> | null = null;
  #closed = false;

  private constructor(library: CommunicationLibrary, sizes: HostChannelSizes) {
    const layout = layOutHostChannel(sizes);
    const memory = SharedMemory.create(library, layout.byteLength);
    this.handle = { memory: memory.handle, sizes };
    this.#library = library;
    this.#memory = memory;
    this.#layout = layout;
    this.#abortFlag = new AbortFlag(library, memory);
    const event = (offset: number) =>
      new SharedEvent(library, memory.address + BigInt(offset), { abortFlag: this.#abortFlag });
    const perRank = (start: number, stride: number) =>
      Array.from({ length: sizes.ranks }, (_, rank) => event(start + rank * stride));
    this.#published = event(layout.published);
    this.#consumed = perRank(layout.consumed, LINE_BYTES);
    this.#startup = perRank(layout.startup, layout.startupStride);
    const plans = memory.bytes(layout.plans, layout.planSlots * layout.planStride);
    this.#plans = new Uint8Array(plans);
    this.#planLengths = new Uint32Array(plans);
  }

  /**
   * Makes a channel, in `wasmMemory` for ranks that are threads which share it. Throws RangeError for
   * sizes out of range.
   */
  static create(sizes: HostChannelSizes, wasmMemory?: WebAssembly.Memory): HostChannel {
    const library = openCommunication(wasmMemory);
    try {
      return new HostChannel(library, sizes);
    } catch (error) {
      library.close();
      throw error;
    }
  }

  /** Why the channel was aborted, and by which rank (-1: the leader or the launcher); null while it is not. */
  get abortReason(): AbortReason | null {
    return this.#closed ? null : this.#abortFlag.reason;
  }

  /**
   * Hands a plan to all ranks. Throws RangeError when it is longer than `maxPlanBytes`, and
   * CommunicatorError when it would take the place of one that a rank has not finished with, or after an
   * abort.
   */
  publish(plan: Uint8Array): void {
    this.#check("publish");
    const { maxPlanBytes } = this.handle.sizes;
    if (plan.byteLength > maxPlanBytes) {
      throw new RangeError(
        `Cannot publish a plan as it is longer than ${maxPlanBytes} bytes: ${plan.byteLength}`,
      );
    }
    const { planSlots, planStride } = this.#layout;
    for (let rank = 0; rank < this.#consumed.length; rank++) {
      const unread = (this.#publishedCount - this.#consumed[rank].value) >>> 0;
      if (unread >= planSlots) {
        throw this.#error("publish", `as rank ${rank} lags behind: it has ${unread} plans to read`);
      }
    }
    const offset = (this.#publishedCount % planSlots) * planStride;
    this.#planLengths[offset / 4] = plan.byteLength;
    this.#plans.set(plan, offset + LINE_BYTES);
    this.#publishedCount = (this.#publishedCount + 1) >>> 0;
    this.#published.post(this.#publishedCount);
  }

  /**
   * The next result that a rank has sent; null once the channel is disposed. One call at a time. Throws
   * CommunicatorError after an abort, within 100 ms.
   */
  next(): Promise<Uint8Array | null> {
    if (this.#pending !== null) {
      return Promise.reject(new Error("Cannot wait for a result as another call already does"));
    }
    this.#pending = this.#next().finally(() => this.#pending = null);
    return this.#pending;
  }

  async #next(): Promise<Uint8Array | null> {
    const { symbols } = this.#library;
    const ring = this.#memory.address + BigInt(this.#layout.results);
    const capacity = this.#layout.resultCapacity;
    const abort = this.#abortFlag.address;
    let length = BigInt(STATUS.timedOut);
    for (let first = true; length < 0n; first = false) {
      if (this.#closed) return null;
      this.#check("next");
      length = first
        ? symbols.weft_stream_next(ring, capacity, 0n, abort)
        : await symbols.weft_stream_next_async(ring, capacity, POLL_NS, abort);
    }
    if (length > MAX_RESULT_BYTES) {
      throw this.#error("next", `as a result is longer than ${MAX_RESULT_BYTES} bytes: ${length}`);
    }
    const result = new Uint8Array(Number(length));
    const written = symbols.weft_event_value(ring) - symbols.weft_event_value(ring + TAIL_OFFSET);
    // Blocks for what is there; for the rest another thread waits, as the writer may die.
    if ((written >>> 0) >= result.byteLength) {
      symbols.weft_stream_take(ring, capacity, result, length, 0n, abort);
      return result;
    }
    const status = await symbols
      .weft_stream_take_async(ring, capacity, result, length, RESULT_DEADLINE_NS, abort);
    if (this.#closed) return null;
    this.#check("next");
    if (status < 0) throw this.#error("next", "as the rest of a result did not come in time");
    return result;
  }

  /** How far each rank has come with starting. */
  startup(): RankStartup[] {
    this.#check("startup");
    return this.#startup.map((event, rank) => {
      const state = STARTUP_STATES[event.value];
      const view = new DataView(
        this.#memory.bytes(
          this.#layout.startup + rank * this.#layout.startupStride,
          this.#layout.startupStride,
        ),
      );
      const ended = state === "failed" || state === "ready";
      const length = ended ? view.getUint32(LINE_BYTES + 4, true) : 0;
      const text = new Uint8Array(view.buffer, 2 * LINE_BYTES, length);
      return {
        state,
        fraction: view.getFloat32(LINE_BYTES, true),
        text: new TextDecoder().decode(text),
      };
    });
  }

  /**
   * Resolves when every rank is ready, with what each said then; calls `onProgress` with the mean fraction
   * when it changes. Rejects when a rank has failed, the channel is aborted, or the time is over.
   */
  async waitUntilReady(
    options: { timeoutMs: number; onProgress?: (fraction: number) => void },
  ): Promise<string[]> {
    const deadline = performance.now() + options.timeoutMs;
    let reported = -1;
    for (;;) {
      const ranks = this.startup();
      const failed = ranks.findIndex((rank) => rank.state === "failed");
      if (failed >= 0) {
        throw this.#error("start", `as rank ${failed} failed: ${ranks[failed].text}`);
      }
      const fraction = ranks.reduce((sum, rank) => sum + rank.fraction, 0) / ranks.length;
      if (fraction !== reported) options.onProgress?.(fraction);
      reported = fraction;
      const late = ranks.findIndex((rank) => rank.state !== "ready");
      if (late < 0) return ranks.map(({ text }) => text);
      if (performance.now() > deadline) {
        throw this.#error(
          "start",
          `within ${options.timeoutMs} ms: rank ${late} is ${ranks[late].state}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, STARTUP_POLL_MS));
    }
  }

  /** Makes every pending and later call of the leader and of all ranks fail with `reason`. */
  abort(reason: string): void {
    if (!this.#closed) this.#abortFlag.raise(reason, -1);
  }

  #check(operation: string): void {
    if (this.#closed) throw this.#error(operation, "as the channel is closed");
    if (!this.#abortFlag.raised) return;
    throw this.#error(
      operation,
      `as the channel was aborted: ${this.#abortFlag.reason?.text}`,
    );
  }

  #error(operation: string, what: string): CommunicatorError {
    return new CommunicatorError(`Cannot ${operation} ${what}`, { operation, rank: -1 });
  }

  /** Ends a pending {@linkcode next} with null and frees the leader's end; ranks keep theirs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Its wait is in the memory that goes now.
    await this.#pending?.catch(() => null);
    this.#memory[Symbol.dispose]();
    this.#library.close();
  }
}
