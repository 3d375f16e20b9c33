/** A launcher to be killed: prints the process ids of its ranks. Argument: file that tells when they run. */
import { launchRanks } from "../../../src/distributed/launch_ranks.ts";

const ranks = launchRanks(new URL("./launcher_scenarios.ts", import.meta.url), {
  size: 3,
  launcher: "process",
  args: { rank: 1, does: "spins", startedFile: Deno.args[0] },
});
console.log(JSON.stringify(ranks.pids));
await ranks.results;
