/** What a rank under test does to its launcher. */
import type { RankContext } from "../../../src/distributed/launcher.ts";

/** What rank `rank` does; the other ranks wait for it. */
export interface LauncherScenario {
  rank: number;
  does: "throws" | "exits" | "spins" | "waits" | "returns";
  /** File that rank 0 makes when all ranks have started. */
  startedFile?: string;
}

export async function rankMain(context: RankContext<LauncherScenario>): Promise<unknown> {
  const { world, launcher, args } = context;
  world.barrier();
  if (world.rank === 0 && args.startedFile) Deno.writeTextFileSync(args.startedFile, "");
  if (args.does === "returns") return { launcher, rank: world.rank, size: world.size, args };
  if (world.rank === args.rank) {
    if (args.does === "throws") throw new TypeError("boom");
    if (args.does === "exits") Deno.exit(7);
    while (args.does === "spins");
  }
  if (args.does === "waits") return await new Promise((resolve) => setTimeout(resolve, 20_000));
  // Blocks the event loop, as a rank that waits for its peers does.
  return world.barrier();
}
