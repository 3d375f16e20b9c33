/**
 * What every rank of an engine does: build its part of the model, then run plans until told to stop.
 * @module
 */
import type { HostChannelHandle } from "../../distributed/host_channel_layout.ts";
import type { RankContext } from "../../distributed/launcher.ts";
import { RankChannel } from "../../distributed/rank_channel.ts";
import type { EngineConfig } from "../engine_config.ts";
import { RankEngine } from "./rank_engine.ts";
import { RankLoop } from "./rank_loop.ts";

/** What the leader tells each rank. */
export interface RankArguments {
  /** The engine's settled options. */
  readonly config: EngineConfig;
  /** Where plans come from and results go. */
  readonly channel: HostChannelHandle;
  /** How long a wait spins before it sleeps, in microseconds. */
  readonly spinMicroseconds: number;
  /** Deadline of whatever depends on other ranks, in milliseconds. */
  readonly timeoutMs: number;
}

/** Entry point of a rank (see `launchRanks`). Returns when the leader publishes an empty plan. */
export function rankMain({ world, args, wasmMemory }: RankContext<RankArguments>): void {
  const { config, spinMicroseconds, timeoutMs } = args;
  using channel = RankChannel.open(args.channel, {
    rank: world.rank,
    spinMicroseconds,
    wasmMemory,
  });
  try {
    using engine = new RankEngine({ config, world, channel, timeoutMs, wasmMemory });
    const { runner, report, reports } = engine;
    channel.setReady(JSON.stringify(report));
    try {
      new RankLoop({ channel, runner, reports, timeoutMs }).run();
    } catch (error) {
      // Before the engine is freed: on a GPU that hangs, that lasts until the deadline.
      channel.abort(describe(error));
      throw error;
    }
  } catch (thrown) {
    const error = firstError(thrown);
    channel.setFailed(describe(error));
    throw error;
  }
}

/** With its name: text is all that reaches the leader. */
function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** What failed first: a device that has failed fails again when its memory is freed. */
function firstError(thrown: unknown): unknown {
  return thrown instanceof SuppressedError ? firstError(thrown.suppressed) : thrown;
}
