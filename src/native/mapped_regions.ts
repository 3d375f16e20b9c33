/**
 * Regions of memory that processes map: files without a name, opened by their maker's descriptor.
 * @module
 */
import type { Region, RegionStore, SYSTEM_SYMBOLS } from "./communication.ts";
import { encodeCString } from "./c_declarations.ts";
import type { LibrarySymbols } from "./library_symbols.ts";

/** Functions that ask the system for memory. */
export type SystemFunctions = LibrarySymbols<typeof SYSTEM_SYMBOLS>;

/** Regions of the operating system. */
export function mappedRegions(system: SystemFunctions): RegionStore {
  return {
    create(byteLength) {
      const descriptor = system.weft_shared_create(encodeCString("weft"), BigInt(byteLength));
      if (descriptor < 0) {
        throw systemError(system, `Cannot create ${byteLength} bytes of shared memory`, descriptor);
      }
      return map(system, descriptor, byteLength);
    },

    open(path, byteLength) {
      const descriptor = system.weft_shared_open(encodeCString(path));
      if (descriptor < 0) {
        throw systemError(system, `Cannot open shared memory ${path}`, descriptor);
      }
      const region = map(system, descriptor, byteLength);
      region.closeDescriptor();
      return region;
    },

    placeOf(path) {
      const [, , process, , descriptor] = path.split("/");
      return [Number(process), Number(descriptor)];
    },

    pathOf: ([process, descriptor]) => `/proc/${process}/fd/${descriptor}`,
  };
}

function map(system: SystemFunctions, descriptor: number, byteLength: number): Region {
  const address = system.weft_shared_map(descriptor, BigInt(byteLength));
  if (address < 0n) {
    system.weft_shared_close(descriptor);
    throw systemError(system, `Cannot map ${byteLength} bytes of shared memory`, address);
  }
  let open = true;
  return {
    address,
    get path() {
      return open ? `/proc/${Deno.pid}/fd/${descriptor}` : null;
    },
    view(offset, length) {
      const pointer = Deno.UnsafePointer.create(address + BigInt(offset));
      return Deno.UnsafePointerView.getArrayBuffer(pointer!, length);
    },
    closeDescriptor() {
      if (open) system.weft_shared_close(descriptor);
      open = false;
    },
    unmap: () => void system.weft_shared_unmap(address, BigInt(byteLength)),
  };
}

/** An Error of `message` and the system's words for a negated errno. */
export function systemError(
  system: Pick<SystemFunctions, "weft_errno_message">,
  message: string,
  status: number | bigint,
): Error {
  const words = new Uint8Array(128);
  system.weft_errno_message(-Number(status), words, BigInt(words.length));
  return new Error(`${message}: ${new TextDecoder().decode(words.subarray(0, words.indexOf(0)))}`);
}
