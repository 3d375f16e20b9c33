/**
 * Exchanges small pieces of host memory between ranks.
 * @module
 */
import type { Communicator } from "./communicator.ts";

/** What every rank gives, in the order of the ranks; all give as many bytes. `world` works on host memory. */
export function gatherBytes(
  world: Communicator,
  bytes: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[] {
  // Arrays of their own: memory that JavaScript may move has no address.
  const input = new Uint8Array(new ArrayBuffer(bytes.length));
  input.set(bytes);
  const output = new Uint8Array(new ArrayBuffer(world.size * bytes.length));
  world.allGather(addressOf(output), addressOf(input), bytes.length, { dtype: "u8" });
  return Array.from(
    { length: world.size },
    (_, rank) => output.subarray(rank * bytes.length, (rank + 1) * bytes.length),
  );
}

function addressOf(array: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(array));
}
