/**
 * Speed of the collectives between ranks of one machine: `deno bench -A bench/collectives_bench.ts`.
 *
 * S is what each rank contributes. GB/s is algorithm bandwidth, what the caller gets: S / time for all_reduce
 * (every rank ends with S bytes), S * ranks / time for all_gather (every rank ends with S * ranks bytes),
 * S / time for send/recv (half of a round trip, pairs of neighbours at once). Times are medians on rank 0.
 * @module
 */
import { launchRanks } from "../src/distributed/launch_ranks.ts";
import type { BenchmarkedOperation, CollectiveBenchmark } from "./_collective_ranks.ts";

const SIZES = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const BUDGET_MS = 120;

async function measure(operation: BenchmarkedOperation, size: number): Promise<void> {
  const args: CollectiveBenchmark = { operation, sizes: SIZES, budgetMs: BUDGET_MS };
  const entry = new URL("./_collective_ranks.ts", import.meta.url);
  await using ranks = launchRanks<number[]>(entry, { size, args });
  const [times] = await ranks.results;
  SIZES.forEach((bytes, index) => {
    const transfers = operation === "send/recv" ? 2 : 1;
    const moved = operation === "all_gather" ? bytes * size : bytes;
    const microseconds = times[index] / transfers;
    console.log(
      `${operation.padEnd(10)} ${size} ranks ${describe(bytes).padStart(7)} ` +
        `${microseconds.toFixed(1).padStart(10)} us ${
          (moved / microseconds / 1e3).toFixed(2).padStart(7)
        } GB/s`,
    );
  });
}

function describe(bytes: number): string {
  return bytes < 1 << 20 ? `${bytes >> 10} KiB` : `${bytes >> 20} MiB`;
}

for (const size of [2, 4]) {
  for (const operation of ["all_reduce", "all_gather", "send/recv"] as const) {
    await measure(operation, size);
  }
}
