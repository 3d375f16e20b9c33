/**
 * The host channel between a replica's leader and its ranks: plans out, tokens across, results back.
 * @module
 */
import type { CommunicationLibrary } from "../native/communication.ts";
import { KeptBigInt } from "../native/kept_bigint.ts";
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
  planPlaces,
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
/**
 * How long the leader waits for a result before it looks whether it was closed: each wait in vain doubles the next, so
 * that an idle replica costs next to nothing, and who closes it waits for no longer than it has been idle.
 */
const FIRST_WAIT_NS = 50_000_000n;
const LONGEST_WAIT_NS = 400_000_000n;
/** How long the rest of a result may take once its beginning has come. */
const RESULT_DEADLINE_NS = 10_000_000_000n;
/** From the event that counts the bytes written to the ring to that of the bytes read. */
const TAIL_OFFSET: bigint = BigInt(LINE_BYTES);
const STARTUP_POLL_MS = 10;

/**
 * The leader's end of a host channel, over one shared region. Nothing here blocks the leader's event loop.
 * The region's abort flag can be that of a launch too ({@linkcode LaunchOptions.abortMemory}): then the death
 * of a rank makes {@linkcode receive} reject, and aborting the channel ends the ranks' communication.
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
  readonly #planPlaces: readonly Uint8Array[];
  readonly #planLengths: Uint32Array;
  readonly #results: bigint;
  readonly #resultsTail: bigint;
  readonly #resultLength = new KeptBigInt();
  #result = new Uint8Array(0);
  #publishedCount = 0;
  #receiving: Promise<void> | null = null;
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
    this.#planPlaces = planPlaces(plans, layout, sizes);
    this.#planLengths = new Uint32Array(plans);
    this.#results = memory.address + BigInt(layout.results);
    this.#resultsTail = this.#results + TAIL_OFFSET;
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
   * Where the next plan is to be written before {@linkcode publish}: `maxPlanBytes` bytes. Throws
   * CommunicatorError when a rank has not finished with the plan that lies there, or after an abort.
   */
  nextPlan(): Uint8Array {
    this.#check("publish");
    const { planSlots } = this.#layout;
    for (let rank = 0; rank < this.#consumed.length; rank++) {
      const unread = (this.#publishedCount - this.#consumed[rank].value) >>> 0;
      if (unread >= planSlots) {
        throw this.#error("publish", `as rank ${rank} lags behind: it has ${unread} plans to read`);
      }
    }
    return this.#planPlaces[this.#publishedCount % planSlots];
  }

  /**
   * Hands the first `byteLength` bytes of {@linkcode nextPlan} to all ranks. Throws RangeError when that has
   * fewer.
   */
  publish(byteLength: number): void {
    const { maxPlanBytes } = this.handle.sizes;
    if (!(byteLength >= 0 && byteLength <= maxPlanBytes)) {
      throw new RangeError(
        `Cannot publish a plan as it is longer than ${maxPlanBytes} bytes: ${byteLength}`,
      );
    }
    const { planSlots, planStride } = this.#layout;
    this.#planLengths[(this.#publishedCount % planSlots) * planStride / 4] = byteLength;
    this.#publishedCount = (this.#publishedCount + 1) >>> 0;
    this.#published.post(this.#publishedCount);
  }

  /**
   * Calls `take` with every result that a rank sends, in their order; the bytes stay as they are until it
   * returns. Resolves once the channel is disposed. One call at a time. Rejects with CommunicatorError after
   * an abort, within 100 ms, and with what `take` throws.
   */
  receive(take: (result: Uint8Array<ArrayBuffer>) => void): Promise<void> {
    if (this.#receiving !== null) {
      return Promise.reject(new Error("Cannot receive results as another call already does"));
    }
    this.#receiving = this.#receive(take).finally(() => this.#receiving = null);
    return this.#receiving;
  }

  async #receive(take: (result: Uint8Array<ArrayBuffer>) => void): Promise<void> {
    const { symbols } = this.#library;
    const { resultCapacity } = this.#layout;
    const abort = this.#abortFlag.address;
    let wait = FIRST_WAIT_NS;
    while (!this.#closed) {
      this.#check("receive");
      let length = symbols.weft_stream_next(this.#results, resultCapacity, 0n, abort);
      if (length < 0n) {
        length = await symbols
          .weft_stream_next_async(this.#results, resultCapacity, wait, abort);
      }
      if (length < 0n) {
        if (wait < LONGEST_WAIT_NS) wait *= 2n;
        continue;
      }
      wait = FIRST_WAIT_NS;
      this.#makeRoom(Number(length));
      if (!this.#takeWhole()) await this.#takeInPieces();
      if (!this.#closed) take(this.#result);
    }
  }

  /** Results of one length arrive in the same memory. */
  #makeRoom(length: number): void {
    if (length > MAX_RESULT_BYTES) {
      throw this.#error(
        "receive",
        `as a result is longer than ${MAX_RESULT_BYTES} bytes: ${length}`,
      );
    }
    if (this.#result.length !== length) this.#result = new Uint8Array(length);
  }

  /** Takes a result if all of it has come; false if not. */
  #takeWhole(): boolean {
    const { symbols } = this.#library;
    const written = symbols.weft_event_value(this.#results) -
      symbols.weft_event_value(this.#resultsTail);
    const { length } = this.#result;
    if ((written >>> 0) < length) return false;
    symbols.weft_stream_take(
      this.#results,
      this.#layout.resultCapacity,
      this.#result,
      this.#resultLength.of(length),
      0n,
      this.#abortFlag.address,
    );
    return true;
  }

  /** Takes a result whose rest is on its way: another thread waits for it, as the writer may die. */
  async #takeInPieces(): Promise<void> {
    const status = await this.#library.symbols.weft_stream_take_async(
      this.#results,
      this.#layout.resultCapacity,
      this.#result,
      BigInt(this.#result.length),
      RESULT_DEADLINE_NS,
      this.#abortFlag.address,
    );
    if (this.#closed) return;
    this.#check("receive");
    if (status < 0) throw this.#error("receive", "as the rest of a result did not come in time");
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

  /** Ends {@linkcode receive} and frees the leader's end; ranks keep theirs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Its wait is in the memory that goes now.
    await this.#receiving?.catch(() => {});
    this.#memory[Symbol.dispose]();
    this.#library.close();
  }
}
