/**
 * All-reduce by NCCL: one rank, two on one GPU where NCCL 2.30 allows it, and all GPUs there are:
 * `deno run -A bench/gpu/nccl.ts`.
 * @module
 */
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import { openCudart } from "../../src/native/cudart.ts";
import { isAtLeast } from "../../src/native/library.ts";
import { openNccl } from "../../src/native/nccl.ts";
import type { NcclArguments } from "./_nccl_ranks.ts";
import { report } from "./_figures.ts";

const ENTRY = new URL("./_nccl_ranks.ts", import.meta.url);

/** Residual streams of one token of 1B and 8B, of 64 tokens, and of a chunk of a prompt. */
const COUNTS = [2048, 4096, 64 * 4096, 2048 * 4096];

async function measure(name: string, gpus: readonly number[]): Promise<void> {
  const args: NcclArguments = { gpus, counts: COUNTS, operations: 16, replays: 50 };
  const options = { size: gpus.length, launcher: "process", args, timeoutMs: 60_000 } as const;
  await using ranks = launchRanks<number[]>(ENTRY, options);
  const [seconds] = await ranks.results;
  COUNTS.forEach((count, i) => {
    const details = { bytes: 4 * count };
    report({ name: `all-reduce ${name}, ${count}`, value: 1e6 * seconds[i], unit: "us", details });
  });
}

using nccl = openNccl();
const gpuCount = (() => {
  using cudart = openCudart();
  return cudart.getDeviceCount();
})();
await measure("1 rank", [0]);
if (gpuCount > 1) await measure(`${gpuCount} GPUs`, Array.from({ length: gpuCount }, (_, i) => i));
if (isAtLeast(nccl.version, [2, 30, 0])) {
  // Read by NCCL in the ranks' processes, which inherit it.
  Deno.env.set("NCCL_MULTI_RANK_GPU_ENABLE", "1");
  await measure("2 ranks on one GPU", [0, 0]);
} else {
  console.error(`NOT MEASURED: two ranks on one GPU, as NCCL is ${nccl.version.join(".")}`);
}
