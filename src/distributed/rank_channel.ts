/**
 * A rank's end of the host channel between a replica's leader and its ranks.
 * @module
 */
import { type CommunicationLibrary, STATUS } from "../native/communication.ts";
import { KeptBigInt } from "../native/kept_bigint.ts";
import { SharedEvent } from "../native/shared_event.ts";
import { AbortFlag, SharedMemory } from "../native/shared_memory.ts";
import { openCommunication } from "../native/wasm_communication.ts";
import { CommunicatorError } from "./communicator.ts";
import {
  type HostChannelHandle,
  type HostChannelLayout,
  layOutHostChannel,
  LINE_BYTES,
  planPlaces,
  STARTUP_STATES,
  STARTUP_TEXT_BYTES,
} from "./host_channel_layout.ts";

/** Options of {@linkcode RankChannel.open}. */
export interface RankChannelOptions {
  /** This rank. */
  readonly rank: number;
  /** How long a wait spins before it sleeps, in microseconds; 0 when left out. */
  readonly spinMicroseconds?: number;
  /** Memory in which the leader made the channel, if it lies in such a one. */
  readonly wasmMemory?: WebAssembly.Memory;
}

/**
 * A rank's end of a host channel: it reads every plan in order, exchanges sampled tokens with other ranks
 * over the board, and (one rank only) sends results to the leader. Calls block; all but timeouts of
 * {@linkcode readNext} throw {@linkcode CommunicatorError} when the channel is aborted or a deadline passes.
 */
export class RankChannel implements Disposable {
  /** This rank. */
  readonly rank: number;
  readonly #library: CommunicationLibrary;
  readonly #memory: SharedMemory;
  readonly #layout: HostChannelLayout;
  readonly #abortFlag: AbortFlag;
  readonly #published: SharedEvent;
  readonly #consumed: SharedEvent;
  readonly #boardEvents: readonly SharedEvent[];
  readonly #boardRows: readonly Int32Array[];
  readonly #planPlaces: readonly Uint8Array[];
  readonly #planLengths: Uint32Array;
  readonly #results: bigint;
  readonly #resultLength = new KeptBigInt();
  readonly #resultTimeout = new KeptBigInt();
  readonly #startupEvent: SharedEvent;
  readonly #startup: DataView;
  #plan: Uint8Array;
  #read = 0;
  #disposed = false;

  private constructor(
    library: CommunicationLibrary,
    memory: SharedMemory,
    handle: HostChannelHandle,
    options: RankChannelOptions,
  ) {
    const { rank, spinMicroseconds } = options;
    const { boardSteps, boardSlots } = handle.sizes;
    const layout = layOutHostChannel(handle.sizes);
    this.rank = rank;
    this.#library = library;
    this.#memory = memory;
    this.#layout = layout;
    this.#abortFlag = new AbortFlag(library, memory);
    const event = (offset: number) =>
      new SharedEvent(library, memory.address + BigInt(offset), {
        abortFlag: this.#abortFlag,
        spinMicroseconds,
      });
    this.#published = event(layout.published);
    this.#consumed = event(layout.consumed + rank * LINE_BYTES);
    this.#boardEvents = Array.from(
      { length: boardSteps },
      (_, index) => event(layout.boardEvents + index * LINE_BYTES),
    );
    const board = new Int32Array(memory.bytes(layout.board, boardSteps * boardSlots * 4));
    this.#boardRows = Array.from(
      { length: boardSteps },
      (_, index) => board.subarray(index * boardSlots, (index + 1) * boardSlots),
    );
    const plans = memory.bytes(layout.plans, layout.planSlots * layout.planStride);
    this.#planPlaces = planPlaces(plans, layout, handle.sizes);
    this.#planLengths = new Uint32Array(plans);
    this.#plan = this.#planPlaces[0];
    this.#results = memory.address + BigInt(layout.results);
    const startup = layout.startup + rank * layout.startupStride;
    this.#startupEvent = event(startup);
    this.#startup = new DataView(memory.bytes(startup, layout.startupStride));
  }

  /** Opens the channel that the leader made; throws when the leader has gone or the rank is out of range. */
  static open(handle: HostChannelHandle, options: RankChannelOptions): RankChannel {
    const { rank } = options;
    if (!Number.isInteger(rank) || rank < 0 || rank >= handle.sizes.ranks) {
      throw new RangeError(
        `Cannot open a host channel of ${handle.sizes.ranks} ranks as it has no such rank: ${rank}`,
      );
    }
    const library = openCommunication(options.wasmMemory);
    try {
      const memory = SharedMemory.open(library, handle.memory);
      return new RankChannel(library, memory, handle, options);
    } catch (error) {
      library.close();
      throw error;
    }
  }

  /** What {@linkcode readNext} has read, and what lies behind it. Stays whole until the next call of that. */
  get plan(): Uint8Array {
    return this.#plan;
  }

  /**
   * Reads the next plan, in the order in which the leader published, and gives the place of the one before
   * back. Returns how many bytes of {@linkcode plan} it takes; null when none comes in time.
   */
  readNext(timeoutMs: number): number | null {
    if (this.#consumed.value !== this.#read) this.#consumed.post(this.#read);
    const waited = this.#published.wait((this.#read + 1) >>> 0, timeoutMs);
    if (waited === "timed-out") return null;
    if (waited === "aborted") throw this.#aborted("readNext");
    const place = this.#read % this.#layout.planSlots;
    this.#read = (this.#read + 1) >>> 0;
    this.#plan = this.#planPlaces[place];
    return this.#planLengths[place * this.#layout.planStride / 4];
  }

  /** Puts the tokens of a step on the board, each in its slot. One rank posts each step, in order. */
  postTokens(
    step: number,
    tokens: readonly { readonly slot: number; readonly token: number }[],
  ): void {
    const row = this.#boardRows[step % this.#boardRows.length];
    for (let index = 0; index < tokens.length; index++) {
      const { slot, token } = tokens[index];
      if (!(slot >= 0 && slot < row.length)) {
        throw new RangeError(`Cannot post a token as the board has ${row.length} slots: ${slot}`);
      }
      row[slot] = token;
    }
    this.#boardEvents[step % this.#boardEvents.length].post((step + 1) >>> 0);
  }

  /**
   * The tokens of a step by slot, once they are posted; slots that the step did not fill hold older values.
   * Valid until the board comes round, `boardSteps` steps later. Throws CommunicatorError at the deadline,
   * RangeError when the board has already come round.
   */
  waitTokens(step: number, timeoutMs: number): Int32Array {
    const event = this.#boardEvents[step % this.#boardEvents.length];
    const target = (step + 1) >>> 0;
    const waited = event.wait(target, timeoutMs);
    if (waited === "aborted") throw this.#aborted("waitTokens");
    if (waited === "timed-out") {
      throw this.#error(
        "waitTokens",
        `within ${timeoutMs} ms: the tokens of step ${step} were not posted`,
      );
    }
    if (event.value !== target) {
      throw new RangeError(
        `Cannot read the tokens of step ${step} as the board keeps ${this.#boardRows.length} steps: ` +
          `step ${event.value - 1} has taken its place`,
      );
    }
    return this.#boardRows[step % this.#boardRows.length];
  }

  /** Sends a result to the leader, waiting for room. One rank sends all results. */
  sendResult(result: Uint8Array<ArrayBuffer>, timeoutMs: number): void {
    const status = this.#library.symbols.weft_stream_send(
      this.#results,
      this.#layout.resultCapacity,
      result,
      this.#resultLength.of(result.byteLength),
      this.#resultTimeout.of(Math.round(timeoutMs * 1e6)),
      this.#abortFlag.address,
    );
    if (status === STATUS.cancelled) throw this.#aborted("sendResult");
    if (status === STATUS.timedOut) {
      const error = this.#error(
        "sendResult",
        `within ${timeoutMs} ms: the leader has not read`,
      );
      // Part of the result is in the stream: nobody can go on from here.
      this.abort(error.message);
      throw error;
    }
  }

  /** Tells the leader how much of this rank's weights is loaded, from 0 to 1. */
  setProgress(fraction: number): void {
    this.#startup.setFloat32(LINE_BYTES, fraction, true);
    this.#startupEvent.post(STARTUP_STATES.indexOf("loading"));
  }

  /** Tells the leader that this rank reads plans now, with a text of up to 4 KB about itself. */
  setReady(report = ""): void {
    this.#startup.setFloat32(LINE_BYTES, 1, true);
    this.#writeText(report);
    this.#startupEvent.post(STARTUP_STATES.indexOf("ready"));
  }

  /** Tells the leader that this rank cannot start, and why (the first 4 KB). */
  setFailed(reason: string): void {
    this.#writeText(reason);
    this.#startupEvent.post(STARTUP_STATES.indexOf("failed"));
  }

  #writeText(text: string): void {
    const bytes = new Uint8Array(STARTUP_TEXT_BYTES);
    const { written } = new TextEncoder().encodeInto(text, bytes);
    for (let index = 0; index < written; index++) {
      this.#startup.setUint8(2 * LINE_BYTES + index, bytes[index]);
    }
    this.#startup.setUint32(LINE_BYTES + 4, written, true);
  }

  /** Makes every pending and later call of the leader and of all ranks fail with `reason`. */
  abort(reason: string): void {
    this.#abortFlag.raise(reason, this.rank);
  }

  /** Throws CommunicatorError, naming `operation`, when the channel was aborted: for waits outside of it. */
  throwIfAborted(operation: string): void {
    if (this.#abortFlag.raised) throw this.#aborted(operation);
  }

  #aborted(operation: string): CommunicatorError {
    return this.#error(operation, `as the channel was aborted: ${this.#abortFlag.reason?.text}`);
  }

  #error(operation: string, what: string): CommunicatorError {
    return new CommunicatorError(`Cannot complete ${operation} on rank ${this.rank} ${what}`, {
      operation,
      rank: this.rank,
    });
  }

  /** Closes this end; views that it gave out must not be used any more. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory[Symbol.dispose]();
    this.#library.close();
  }
}
