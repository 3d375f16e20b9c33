/**
 * The shared region of a group of ranks.
 * @module
 */
import { type CommunicationLibrary, MAX_RANKS } from "../native/communication.ts";
import { SharedMemory } from "../native/shared_memory.ts";

/** Bytes that each point-to-point channel buffers when nothing else is asked for. */
const DEFAULT_CHANNEL_BYTES = 1 << 20;

/** How long an operation may take when nothing else is asked for, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 60_000;

// A rank stages its part of a collective in pieces of this size. Smaller ones would stay in cache, but
// then ranks wait for each other more often, which costs more when cores are shared (measured).
const SLOT_BYTES = 512 << 10;
const MIN_CHANNEL_BYTES = 4096;
const MAX_CHANNEL_BYTES = 1 << 30;

/**
 * Makes the region of a group of `size` ranks. Pages are taken when they are first used, so a channel
 * that carries nothing costs nothing. Throws RangeError when a number is out of range.
 */
export function createGroupRegion(
  library: CommunicationLibrary,
  options: { readonly size: number; readonly channelBytes?: number },
): SharedMemory {
  const { size, channelBytes = DEFAULT_CHANNEL_BYTES } = options;
  if (!Number.isInteger(size) || size < 1 || size > MAX_RANKS) {
    throw new RangeError(
      `Cannot form a group as its size is not an integer from 1 to ${MAX_RANKS}: ${size}`,
    );
  }
  if (
    !Number.isInteger(channelBytes) || channelBytes < MIN_CHANNEL_BYTES ||
    channelBytes > MAX_CHANNEL_BYTES
  ) {
    throw new RangeError(
      `Cannot form a group as channelBytes is not an integer from ${MIN_CHANNEL_BYTES} to ` +
        `${MAX_CHANNEL_BYTES}: ${channelBytes}`,
    );
  }
  const capacity = 2 ** Math.ceil(Math.log2(channelBytes));
  const { symbols } = library;
  const byteLength = Number(symbols.weft_group_bytes(size, SLOT_BYTES, capacity));
  const memory = SharedMemory.create(library, byteLength);
  symbols.weft_group_initialize(memory.address, size, SLOT_BYTES, capacity);
  return memory;
}
