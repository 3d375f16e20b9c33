/**
 * Starts the ranks of a group.
 * @module
 */
import { openCommunicationLibrary } from "../native/communication.ts";
import { nativeLibraryPath } from "../native/native_library.ts";
import { openWasmCommunication } from "../native/wasm_communication.ts";
import { AbortFlag, SharedMemory } from "../native/shared_memory.ts";
import type { LaunchOptions, RankGroup } from "./launcher.ts";
import { startProcess } from "./process_launcher.ts";
import { LaunchedRanks } from "./rank_group.ts";
import type { RankHandle } from "./rank_handle.ts";
import type { RankSpecification } from "./rank_runner.ts";
import { createGroupRegion } from "./shared_memory_region.ts";
import { startThread } from "./thread_launcher.ts";

const SPIN_MICROSECONDS = 50;

/**
 * Starts `options.size` ranks. Each imports the module `entry`, an absolute URL, and calls its `rankMain`
 * with a communicator over all of them. When one fails, the others' communication fails at once. Throws
 * RangeError for options out of range, and when there is no native library.
 *
 * @example
 * ```ts
 * import { launchRanks, type RankContext } from "@weft/weft";
 * export function rankMain({ world }: RankContext): string {
 *   world.barrier();
 *   return `rank ${world.rank} of ${world.size}`;
 * }
 * if (import.meta.main) {
 *   await using ranks = launchRanks(import.meta.url, { size: 2 });
 *   console.log(await ranks.results); // ["rank 0 of 2", "rank 1 of 2"]
 * }
 * ```
 */
export function launchRanks<Result = unknown>(
  entry: URL | string,
  options: LaunchOptions,
): RankGroup<Result> {
  const { size, launcher = "thread", args, timeoutMs, channelBytes } = options;
  if (launcher !== "thread" && launcher !== "process") {
    throw new RangeError(`Cannot launch ranks as there is no such launcher: ${launcher}`);
  }
  checkTimeout(timeoutMs);
  const { wasmMemory } = options;
  if (wasmMemory !== undefined && launcher === "process") {
    throw new RangeError(
      "Cannot launch processes as they share no WebAssembly memory: use launcher thread",
    );
  }
  const libraryPath = wasmMemory === undefined ? nativeLibraryPath() : "";
  const resources = new DisposableStack();
  const handles: RankHandle[] = [];
  try {
    const native = wasmMemory === undefined ? openCommunicationLibrary(libraryPath) : null;
    const library = native ?? openWasmCommunication(wasmMemory!);
    resources.defer(() => library.close());
    const memory = resources.use(createGroupRegion(library, { size, channelBytes }));
    const abortMemory = options.abortMemory === undefined
      ? memory
      : resources.use(SharedMemory.open(library, options.abortMemory));
    const specification: Omit<RankSpecification, "rank"> = {
      entry: new URL(entry).href,
      size,
      launcher,
      args,
      libraryPath,
      memory: memory.handle,
      abortMemory: options.abortMemory ?? memory.handle,
      timeoutMs,
      channelBytes,
      spinMicroseconds: options.spinMicroseconds ??
        (size <= navigator.hardwareConcurrency ? SPIN_MICROSECONDS : 0),
    };
    for (let rank = 0; rank < size; rank++) {
      handles.push(
        native !== null && launcher === "process"
          ? startProcess(native, { ...specification, rank })
          : startThread({ ...specification, rank }, wasmMemory),
      );
    }
    return new LaunchedRanks<Result>(
      handles,
      new AbortFlag(library, abortMemory),
      () => resources.dispose(),
    );
  } catch (error) {
    for (const handle of handles) handle.kill();
    resources.dispose();
    throw error;
  }
}

function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined) return;
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0 || timeoutMs > 1e9) {
    throw new RangeError(
      `Cannot launch ranks as timeoutMs is not a number above 0 up to 1e9: ${timeoutMs}`,
    );
  }
}
