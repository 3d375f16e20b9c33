/**
 * Communication between threads that share a WebAssembly memory.
 * @module
 */
import {
  type CommunicationLibrary,
  type HostBuffer,
  openCommunicationLibrary,
  type Region,
  STATUS,
  TRANSFER_SYMBOLS,
} from "./communication.ts";
import { WasmLibrary } from "./wasm_library.ts";

const PATH_PREFIX = "wasm:";
/** Offsets of the fields of `weft_event`, in words. */
const VALUE = 0;
const SLEEPERS = 1;
/** How often who waits for a ring looks at the abort flag, as WEFT_POLL_NS says of native waits, in milliseconds. */
const LOOK_MS = 50;

/** The functions of `native/cpu/collectives.c` and the like, on `memory`. Throws as WasmLibrary does. */
export function openWasmCommunication(memory: WebAssembly.Memory): CommunicationLibrary {
  const library = new WasmLibrary(memory);
  // Reports of a declaration's `nonblocking` are promises: WebAssembly has no calls of that kind.
  const { weft_stream_next_async: _next, weft_stream_take_async: _take, ...blocking } =
    TRANSFER_SYMBOLS;
  const symbols = library.bind(blocking);
  return {
    symbols: {
      ...symbols,
      async weft_stream_next_async(ring, capacity, timeoutNs, abort) {
        const length = symbols.weft_stream_next(ring, capacity, 0n, abort);
        if (length !== BigInt(STATUS.timedOut)) return length;
        await headMoves(memory, ring, Math.min(Number(timeoutNs) / 1e6, LOOK_MS));
        return symbols.weft_stream_next(ring, capacity, 0n, abort);
      },
      // The writer is another thread, and is about to write the rest.
      weft_stream_take_async: (...operands) =>
        Promise.resolve(symbols.weft_stream_take(...operands)),
    },
    regions: {
      create(byteLength) {
        const address = library.reserve(byteLength);
        if (address === 0n) {
          throw new Error(
            `Cannot create ${byteLength} bytes of shared memory: the WebAssembly memory is full`,
          );
        }
        return regionAt(library, address);
      },
      open: (path) => regionAt(library, BigInt(path.slice(PATH_PREFIX.length))),
      placeOf: (path) => [0, Number(path.slice(PATH_PREFIX.length))],
      pathOf: ([_, address]) => `${PATH_PREFIX}${address}`,
    },
    hostBuffer: (byteLength) => hostBuffer(library, byteLength),
    close() {},
  };
}

/** What threads of `memory` communicate with, or all ranks of this machine where it is left out. */
export function openCommunication(memory?: WebAssembly.Memory): CommunicationLibrary {
  return memory === undefined ? openCommunicationLibrary() : openWasmCommunication(memory);
}

/** Waits until something is written to the ring, as weft_wait does without holding the thread. */
async function headMoves(
  memory: WebAssembly.Memory,
  ring: bigint,
  timeoutMs: number,
): Promise<void> {
  const head = new Int32Array(memory.buffer, Number(ring), 2);
  const seen = Atomics.load(head, VALUE);
  Atomics.add(head, SLEEPERS, 1);
  try {
    await Atomics.waitAsync(head, VALUE, seen, timeoutMs).value;
  } finally {
    Atomics.sub(head, SLEEPERS, 1);
  }
}

/** A region lasts as long as its memory. */
function regionAt(library: WasmLibrary, address: bigint): Region {
  return {
    address,
    path: `${PATH_PREFIX}${address}`,
    view: (offset, byteLength) => library.bytes(address + BigInt(offset), byteLength).buffer,
    closeDescriptor() {},
    unmap() {},
  };
}

function hostBuffer(library: WasmLibrary, byteLength: number): HostBuffer {
  const address = library.allocate(byteLength);
  if (address === 0n) throw new Error("Cannot exchange numbers: the WebAssembly memory is full");
  return {
    address,
    bytes: library.bytes(address, byteLength),
    [Symbol.dispose]: () => library.free(address),
  };
}
