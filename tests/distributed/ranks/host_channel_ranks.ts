/** Ranks of a small replica that speaks over a host channel: rank 0 samples, the last rank reads its tokens. */
import type { Communicator } from "../../../src/distributed/communicator.ts";
import type { HostChannelHandle } from "../../../src/distributed/host_channel_layout.ts";
import type { RankContext } from "../../../src/distributed/launcher.ts";
import { RankChannel } from "../../../src/distributed/rank_channel.ts";

/** What the ranks do. */
export interface ChannelScenario {
  handle: HostChannelHandle;
  does: "steps" | "fails to start" | "waits" | "never reads" | "aborts";
  steps?: number;
  resultBytes?: number;
}

export function rankMain({ world, args }: RankContext<ChannelScenario>): unknown {
  const { rank } = world;
  using channel = RankChannel.open(args.handle, { rank });
  channel.setProgress(0.5);
  world.barrier();
  if (args.does === "fails to start" && rank === 1) {
    channel.setFailed("Cannot load shard 1: no such file");
    return null;
  }
  channel.setReady();
  switch (args.does) {
    case "steps":
      return runSteps(channel, world, args);
    case "aborts":
      if (rank === 1) channel.abort("rank 1 has had enough");
      return failureOf(() => channel.readNext(10_000));
    case "never reads":
      return null;
    default:
      // A plan that comes, then one that does not.
      while (channel.readNext(20) === null);
      if (rank === 0) return failureOf(() => channel.waitTokens(5, 50));
      return channel.readNext(50);
  }
}

function runSteps(channel: RankChannel, world: Communicator, args: ChannelScenario): number[] {
  const { rank, size } = world;
  const { steps = 0, resultBytes = 0 } = args;
  const seen: number[] = [];
  for (let step = 0; step < steps; step++) {
    const length = channel.readNext(10_000);
    if (length === null) throw new Error("No plan came");
    const [number, first] = new Uint32Array(channel.plan.slice(0, 8).buffer);
    seen.push(number + length);
    // The ranks of a model meet in every step: none can lag by more than one.
    world.barrier();
    if (rank === 0) {
      channel.postTokens(step, [{ slot: 0, token: first }, { slot: 3, token: -step }]);
      const result = new Uint8Array(resultBytes + step % 7).fill(step);
      channel.sendResult(result, 10_000);
    } else if (rank === size - 1) {
      const tokens = channel.waitTokens(step, 10_000);
      if (tokens[0] !== first || tokens[3] !== -step) throw new Error(`Wrong tokens: ${tokens}`);
    }
  }
  return seen;
}

function failureOf(run: () => void): string {
  try {
    run();
    return "no error";
  } catch (error) {
    return String(error);
  }
}
