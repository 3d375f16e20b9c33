/**
 * Exchanges small pieces of host memory between ranks.
 * @module
 */
import type { HostBuffer } from "../native/communication.ts";
import type { Communicator } from "./communicator.ts";

/** What every rank gives, in the order of the ranks; all give as many bytes. `world` works on host memory. */
export function gatherBytes(
  world: Communicator,
  bytes: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[] {
  const { length } = bytes;
  using input = hostBuffer(world, length);
  input.bytes.set(bytes);
  using output = hostBuffer(world, world.size * length);
  world.allGather(output.address, input.address, length, { dtype: "u8" });
  return Array.from(
    { length: world.size },
    (_, rank) => output.bytes.slice(rank * length, (rank + 1) * length),
  );
}

function hostBuffer(world: Communicator, byteLength: number): HostBuffer {
  const buffer = world.hostBuffer?.(byteLength);
  if (buffer !== undefined) return buffer;
  // An array of its own: memory that JavaScript may move has no address.
  const bytes = new Uint8Array(new ArrayBuffer(byteLength));
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
  return { address, bytes, [Symbol.dispose]() {} };
}
