/**
 * Starts the ranks of an engine.
 * @module
 */
import type { HostChannelHandle } from "../distributed/host_channel_layout.ts";
import { launchRanks } from "../distributed/launch_ranks.ts";
import type { RankGroup } from "../distributed/launcher.ts";
import type { EngineConfig } from "./engine_config.ts";
import type { RankArguments } from "./rank/rank_main.ts";

/**
 * Deadline of whatever a rank does that depends on others, in milliseconds. A step of a large model on
 * few cores takes minutes; a rank that has died is noticed at once by its launcher, not by this.
 */
export const RANK_TIMEOUT_MS = 600_000;

const SPIN_MICROSECONDS = 50;
const MIN_CHANNEL_BYTES = 64 << 10;
const MAX_CHANNEL_BYTES = 64 << 20;
/** Each pair of ranks takes a channel's addresses, of which there are few. */
const MAX_WASM_CHANNEL_BYTES = 1 << 20;

/** Starts the ranks; they obey the abort flag of `channel`. */
export function launchEngineRanks(
  config: EngineConfig,
  channel: HostChannelHandle,
  wasmMemory?: WebAssembly.Memory,
): RankGroup<void> {
  const spinMicroseconds = config.spin ? SPIN_MICROSECONDS : 0;
  const timeoutMs = RANK_TIMEOUT_MS;
  const args: RankArguments = { config, channel, spinMicroseconds, timeoutMs };
  return launchRanks<void>(new URL("./rank/rank_main.ts", import.meta.url), {
    size: channel.sizes.ranks,
    launcher: config.launcher,
    args,
    timeoutMs,
    spinMicroseconds,
    channelBytes: channelBytes(config),
    abortMemory: channel.memory,
    wasmMemory,
  });
}

/** Room for two of the largest messages between stages, so that a stage can start its next step. */
function channelBytes({ modelConfig, maxNumBatchedTokens, wasm }: EngineConfig): number {
  const wanted = 2 * 4 * modelConfig.hiddenSize * maxNumBatchedTokens;
  return Math.min(
    wasm ? MAX_WASM_CHANNEL_BYTES : MAX_CHANNEL_BYTES,
    Math.max(MIN_CHANNEL_BYTES, wanted),
  );
}
