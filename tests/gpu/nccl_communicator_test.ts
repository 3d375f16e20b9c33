import { assertEquals } from "@std/assert";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { LauncherKind } from "../../src/distributed/launcher.ts";
import { gpuCount } from "./_device.ts";
import type { NcclCase } from "./ranks/nccl_cases.ts";

const ENTRY = new URL("./ranks/nccl_cases.ts", import.meta.url);

const base: NcclCase = {
  operation: "allReduce",
  dtype: "f32",
  op: "sum",
  count: 1001,
  seed: 5,
  recorded: false,
  registered: false,
};

const cases: NcclCase[] = [
  base,
  { ...base, count: 0 },
  { ...base, count: 70_001, dtype: "f64" },
  { ...base, dtype: "i32" },
  { ...base, dtype: "i64", op: "max" },
  { ...base, op: "min" },
  { ...base, recorded: true },
  { ...base, registered: true },
  { ...base, registered: true, recorded: true },
  { ...base, operation: "allGather" },
  { ...base, operation: "allGather", dtype: "u8", count: 77 },
  { ...base, operation: "allGather", recorded: true },
  { ...base, operation: "reduceScatter" },
  { ...base, operation: "broadcast", dtype: "u8" },
  { ...base, operation: "shift" },
];

async function failures(size: number, launcher: LauncherKind): Promise<string[]> {
  const options = { size, launcher, args: cases, timeoutMs: 20_000 };
  await using ranks = launchRanks<string[]>(ENTRY, options);
  return (await ranks.results).flat();
}

const gpus = await gpuCount();

for (const [size, launcher] of [[2, "process"], [3, "thread"], [4, "process"]] as const) {
  Deno.test({
    name: `NCCL between ${size} GPUs, one ${launcher} each, equals the reference`,
    ignore: gpus < size,
    fn: async () => assertEquals(await failures(size, launcher), []),
  });
}
