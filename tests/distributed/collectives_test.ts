import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { LauncherKind } from "../../src/distributed/launcher.ts";
import type { CollectiveCase } from "./ranks/collective_cases.ts";

const ENTRY = new URL("./ranks/collective_cases.ts", import.meta.url);

const cases: fc.Arbitrary<CollectiveCase> = fc.record({
  operation: fc.constantFrom(
    "allReduce",
    "allGather",
    "reduceScatter",
    "broadcast",
    "shift",
    "barrier",
  ),
  dtype: fc.constantFrom("f32", "f64", "i32", "i64", "u8"),
  op: fc.constantFrom("sum", "max", "min"),
  // Around cache lines, the limit of the small all-reduce (256 KiB over all ranks), and one staging slot
  // (512 KiB).
  count: fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.integer({ min: 8100, max: 8300 }),
    fc.integer({ min: 32_700, max: 32_800 }),
    fc.integer({ min: 65_500, max: 65_600 }),
  ),
  root: fc.nat(7),
  seed: fc.nat(),
  inPlace: fc.boolean(),
});

async function failures(
  size: number,
  args: CollectiveCase[],
  launcher: LauncherKind = "thread",
): Promise<CollectiveCase[]> {
  await using ranks = launchRanks<CollectiveCase[]>(ENTRY, {
    size,
    launcher,
    args,
    timeoutMs: 20_000,
    channelBytes: 4096,
  });
  return (await ranks.results).flat();
}

const base: CollectiveCase = {
  operation: "allReduce",
  dtype: "f32",
  op: "sum",
  count: 0,
  root: 0,
  seed: 7,
  inPlace: false,
};

/** Sums whose bits depend on their order, small and in chunks. */
const floatSums: CollectiveCase[] = [
  { ...base, count: 1001 },
  { ...base, count: 70_001 },
  { ...base, count: 501, dtype: "f64" },
  { ...base, count: 501, operation: "reduceScatter" },
];

for (const size of [1, 2, 3, 4, 8]) {
  Deno.test(`collectives of ${size} ranks equal the reference to the bit`, async () => {
    const sample = fc.sample(cases, { numRuns: size === 8 ? 10 : 25, seed: size });
    assertEquals(await failures(size, [...floatSums, ...sample]), []);
  });
}

Deno.test("collectives between processes equal the reference to the bit", async () => {
  const sample = fc.sample(cases, { numRuns: 15, seed: 99 });
  assertEquals(await failures(3, [...floatSums, ...sample], "process"), []);
});

Deno.test("16-bit floats are moved as they are", async () => {
  const operations = ["allGather", "broadcast", "shift"] as const;
  const moves = operations.map((operation) =>
    ({ ...base, operation, dtype: "f16", count: 1001 }) as const
  );
  assertEquals(await failures(3, moves), []);
});

Deno.test("large messages pass through the staging slots and the channels", async () => {
  const large = (operation: CollectiveCase["operation"], count: number) => ({
    ...base,
    operation,
    count,
  });
  assertEquals(
    await failures(3, [
      large("allReduce", 400_003),
      large("allGather", 200_007),
      large("reduceScatter", 100_003),
      large("broadcast", 300_001),
      large("shift", 300_009),
    ]),
    [],
  );
});
