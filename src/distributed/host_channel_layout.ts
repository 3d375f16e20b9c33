/**
 * How a host channel lies in shared memory, the same for the leader and the ranks.
 * @module
 */
import { ABORT_FLAG_BYTES, type SharedMemoryHandle } from "../native/shared_memory.ts";
import { MAX_RANKS } from "../native/communication.ts";

/** Sizes of a host channel. */
export interface HostChannelSizes {
  /** Ranks that read the plans. */
  readonly ranks: number;
  /** Plans that may be under way at once. */
  readonly plansInFlight: number;
  /** Longest plan in bytes. */
  readonly maxPlanBytes: number;
  /** Steps whose tokens the board keeps. */
  readonly boardSteps: number;
  /** Tokens of each step on the board. */
  readonly boardSlots: number;
  /** Bytes of results that are buffered (rounded up to a power of two); 1 MiB when left out. */
  readonly resultBytes?: number;
}

/** Where a rank opens the channel. Can be sent as JSON. */
export interface HostChannelHandle {
  /** The channel's region; its abort flag can serve a launch as {@linkcode LaunchOptions.abortMemory}. */
  readonly memory: SharedMemoryHandle;
  /** Its sizes. */
  readonly sizes: HostChannelSizes;
}

/** Bytes of an error text in the startup area. */
export const STARTUP_TEXT_BYTES = 4096;

/** States of a rank's startup, by their code. */
export const STARTUP_STATES = ["starting", "loading", "ready", "failed"] as const;

/** Bytes of a cache line, in which an event lies alone. */
export const LINE_BYTES = 64;

const MAX_BYTES = 2 ** 32;

/** Offsets from the start of the region. */
export interface HostChannelLayout {
  /** Plans that the ring holds: a power of two. */
  readonly planSlots: number;
  /** Capacity of the result ring: a power of two. */
  readonly resultCapacity: number;
  /** Event: number of plans published. */
  readonly published: number;
  /** Events, a line each: number of plans each rank is done with. */
  readonly consumed: number;
  /** Events, a line each: step + 1 of the tokens in each row of the board. */
  readonly boardEvents: number;
  /** Ring of results. */
  readonly results: number;
  /** Per rank: event (state), line with f32 fraction and u32 text length, text. */
  readonly startup: number;
  /** Distance between ranks there. */
  readonly startupStride: number;
  /** Per slot: line with u32 length, then the plan. */
  readonly plans: number;
  /** Distance between slots there. */
  readonly planStride: number;
  /** i32 `[boardSteps, boardSlots]`. */
  readonly board: number;
  /** Size of the region. */
  readonly byteLength: number;
}

/** Checks the sizes and lays the channel out; throws RangeError naming the size that is out of range. */
export function layOutHostChannel(sizes: HostChannelSizes): HostChannelLayout {
  const { ranks, plansInFlight, maxPlanBytes, boardSteps, boardSlots } = sizes;
  const resultBytes = sizes.resultBytes ?? 1 << 20;
  check("ranks", ranks, 1, MAX_RANKS);
  check("plansInFlight", plansInFlight, 1, 1 << 16);
  check("maxPlanBytes", maxPlanBytes, 1, 1 << 30);
  check("boardSteps", boardSteps, 1, 1 << 16);
  check("boardSlots", boardSlots, 1, 1 << 24);
  check("resultBytes", resultBytes, 4096, 1 << 30);
  // One more than in flight, as a rank gives its plan back when it asks for the next; and as many again for
  // a rank that lags behind the one whose result retired a plan.
  const planSlots = powerOfTwo(2 * (plansInFlight + 1));
  const resultCapacity = powerOfTwo(resultBytes);
  const startupStride = 2 * LINE_BYTES + STARTUP_TEXT_BYTES;
  const planStride = LINE_BYTES + align(maxPlanBytes, LINE_BYTES);
  const published = ABORT_FLAG_BYTES;
  const consumed = published + LINE_BYTES;
  const boardEvents = consumed + ranks * LINE_BYTES;
  const results = boardEvents + boardSteps * LINE_BYTES;
  const startup = results + 2 * LINE_BYTES + resultCapacity;
  const plans = startup + ranks * startupStride;
  const board = plans + planSlots * planStride;
  const byteLength = align(board + boardSteps * boardSlots * 4, 4096);
  if (byteLength > MAX_BYTES) {
    throw new RangeError(
      `Cannot make a host channel as it would be larger than ${MAX_BYTES} bytes: ${byteLength}`,
    );
  }
  return {
    planSlots,
    resultCapacity,
    published,
    consumed,
    boardEvents,
    results,
    startup,
    startupStride,
    plans,
    planStride,
    board,
    byteLength,
  };
}

/** Where plans lie in `memory`, which is that of all of them: a view of `maxPlanBytes` for each slot. */
export function planPlaces(
  memory: ArrayBuffer,
  { planSlots, planStride }: HostChannelLayout,
  { maxPlanBytes }: HostChannelSizes,
): Uint8Array[] {
  return Array.from(
    { length: planSlots },
    (_, slot) => new Uint8Array(memory, slot * planStride + LINE_BYTES, maxPlanBytes),
  );
}

function align(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(atLeast));
}

function check(name: string, value: number, lowest: number, highest: number): void {
  if (!Number.isInteger(value) || value < lowest || value > highest) {
    throw new RangeError(
      `Cannot make a host channel as ${name} is not an integer from ${lowest} to ${highest}: ${value}`,
    );
  }
}
