/**
 * What a started rank does, whichever launcher started it.
 * @module
 */
import { openCommunicationLibrary } from "../native/communication.ts";
import { openWasmCommunication } from "../native/wasm_communication.ts";
import { AbortFlag, SharedMemory, type SharedMemoryHandle } from "../native/shared_memory.ts";
import type { LauncherKind, RankMain } from "./launcher.ts";
import { SharedMemoryCommunicator } from "./shared_memory_communicator.ts";

/** What a launcher tells a rank; travels as JSON. */
export interface RankSpecification {
  /** URL of the module that exports `rankMain`. */
  readonly entry: string;
  /** The rank. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Who starts the rank. */
  readonly launcher: LauncherKind;
  /** The caller's arguments. */
  readonly args: unknown;
  /** Compiled native library; not used in WebAssembly memory. */
  readonly libraryPath: string;
  /** Region of the world. */
  readonly memory: SharedMemoryHandle;
  /** Region with the launch's abort flag. */
  readonly abortMemory: SharedMemoryHandle;
  /** Deadline of each communication. */
  readonly timeoutMs?: number;
  /** Bytes of each channel. */
  readonly channelBytes?: number;
  /** How long a wait spins. */
  readonly spinMicroseconds: number;
}

/** How a rank ended; travels as JSON. */
export type RankOutcome =
  | { readonly ok: true; readonly result?: unknown }
  | { readonly ok: false; readonly reason: string; readonly stack?: string };

/**
 * Runs the entry's `rankMain`, in the launch's `wasmMemory` if it has one, and returns how it ended, as JSON. A failure is made known to the other
 * ranks at once through the abort flag.
 */
export async function runRank(
  specification: RankSpecification,
  wasmMemory?: WebAssembly.Memory,
): Promise<string> {
  const { rank, launcher, args } = specification;
  try {
    using resources = new DisposableStack();
    const library = resources.adopt(
      wasmMemory === undefined
        ? openCommunicationLibrary(specification.libraryPath)
        : openWasmCommunication(wasmMemory),
      (library) => library.close(),
    );
    using memory = SharedMemory.open(library, specification.memory);
    using abortMemory = SharedMemory.open(library, specification.abortMemory);
    const abortFlag = new AbortFlag(library, abortMemory);
    try {
      using world = new SharedMemoryCommunicator(library, { ...specification, memory, abortFlag });
      const module = await import(specification.entry) as { rankMain?: unknown };
      if (typeof module.rankMain !== "function") {
        throw new TypeError(
          `Cannot run a rank as its module exports no function rankMain: ${specification.entry}`,
        );
      }
      const result = await (module.rankMain as RankMain)({ world, launcher, args, wasmMemory });
      return JSON.stringify({ ok: true, result } satisfies RankOutcome);
    } catch (error) {
      abortFlag.raise(reasonOf(error), rank);
      throw error;
    }
  } catch (error) {
    const stack = error instanceof Error ? error.stack : undefined;
    return JSON.stringify({ ok: false, reason: reasonOf(error), stack } satisfies RankOutcome);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
