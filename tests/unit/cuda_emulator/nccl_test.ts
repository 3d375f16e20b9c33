import { assertEquals, assertMatch } from "@std/assert";
import { launchRanks } from "../../../src/distributed/launch_ranks.ts";
import type { LauncherKind } from "../../../src/distributed/launcher.ts";
import { emulatorLibraries } from "../../cuda_emulator/build.ts";
import type { Scenario } from "./_nccl_ranks.ts";

const ENTRY = new URL("./_nccl_ranks.ts", import.meta.url);

const libraries = Object.entries(await emulatorLibraries());
const before = libraries.map(([variable]) => [variable, Deno.env.get(variable)] as const);
for (const [variable, path] of libraries) Deno.env.set(variable, path);

// All files of tests run in one process: others shall not take the emulator for a GPU.
Deno.test.afterAll(() => {
  for (const [variable, value] of before) {
    if (value === undefined) Deno.env.delete(variable);
    else Deno.env.set(variable, value);
  }
});

/** What each rank of a scenario saw. */
async function run(
  scenario: Scenario,
  size: number,
  launcher: LauncherKind = "process",
): Promise<string[][]> {
  const options = { size, launcher, args: scenario, timeoutMs: 20_000 };
  await using ranks = launchRanks<string[]>(ENTRY, options);
  return await ranks.results;
}

for (const launcher of ["thread", "process"] as const) {
  Deno.test(`emulated reductions of all types, one ${launcher} each`, async () => {
    const seen = await run("types", 3, launcher);
    assertEquals(seen, new Array(3).fill(["waited true", "2", "-3", "1", "4.5", "true"]));
  });

  Deno.test(`emulated messages in a group all go on together, one ${launcher} each`, async () => {
    const seen = await run("exchange", 4, launcher);
    const expected = [0, 1, 2, 3].map((rank) => [[0, 10, 20, 30].map((n) => n + rank).join()]);
    assertEquals(seen, expected);
  });

  Deno.test(`a rank that asks for nothing holds nobody up, one ${launcher} each`, async () => {
    assertEquals(await run("idle peer", 2, launcher), [["2"], ["2"]]);
  });
}

Deno.test("ranks that disagree about an operation are told", async () => {
  const seen = await run("mismatch", 2);
  assertEquals(seen, [["cudaStreamSynchronize 719"], ["cudaStreamSynchronize 719"]]);
});

Deno.test("using a stream before NCCL has queued its operation is misuse", async () => {
  for (const misuses of await run("early use", 2)) {
    assertMatch(misuses.join(), /stream was used before ncclCommGetAsyncError/);
  }
});

Deno.test("windows are memory of NCCL, of the same size on all ranks", async () => {
  const expected = ["true", "ncclCommWindowRegister 4", "ncclCommGetAsyncError 4"];
  assertEquals(await run("window sizes", 2), [expected, expected]);
});

Deno.test("an injected remote error is seen by every rank, and aborting frees them", async () => {
  const [first, second] = await run("injected remote error", 2);
  assertEquals(first, ["false", "ncclCommGetAsyncError 6", "true"]);
  assertEquals(second, ["false", "ncclCommGetAsyncError 6", "true"]);
});

Deno.test("an injected hang says nothing until a rank aborts", async () => {
  const [first, second] = await run("injected hang", 2);
  assertEquals(first, ["false", "none", "true"]);
  assertEquals(second, ["false", "ncclCommGetAsyncError 6", "true"]);
});

Deno.test("an injected init hang never ends", async () => {
  const [first] = await run("injected init hang", 2);
  assertEquals(first, ["false"]);
});

Deno.test("two ranks on one device are refused", async () => {
  const seen = await run("same device", 2);
  assertEquals(seen, [["ncclCommGetAsyncError 5"], ["ncclCommGetAsyncError 5"]]);
});
