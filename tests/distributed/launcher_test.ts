import {
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { launchRanks } from "../../src/distributed/launch_ranks.ts";
import type { LauncherKind, RankGroup } from "../../src/distributed/launcher.ts";
import type { LauncherScenario } from "./ranks/launcher_scenarios.ts";

const ENTRY = new URL("./ranks/launcher_scenarios.ts", import.meta.url);
const ORPHAN_PARENT = new URL("./ranks/orphan_parent.ts", import.meta.url);

function launch(launcher: LauncherKind, args: LauncherScenario): RankGroup {
  return launchRanks(ENTRY, { size: 3, launcher, args, timeoutMs: 20_000 });
}

/** Launches with `launch` and waits until all ranks have started. */
async function started<Group>(launch: (startedFile: string) => Group): Promise<Group> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/started`;
    const group = launch(file);
    while (!await Deno.stat(file).then(() => true, () => false)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return group;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** True when the process exists and is no zombie. */
function runs(pid: number): boolean {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/\) [ZX] /.test(status);
  } catch {
    return false;
  }
}

async function untilGone(pids: readonly number[], milliseconds: number): Promise<number[]> {
  const deadline = performance.now() + milliseconds;
  let left = pids.filter(runs);
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = left.filter(runs);
  }
  return left;
}

for (const launcher of ["thread", "process"] as const) {
  Deno.test(`${launcher}: results come in rank order and arguments arrive`, async () => {
    const args: LauncherScenario = { rank: 0, does: "returns" };
    await using ranks = launch(launcher, args);
    assertEquals(
      await ranks.results,
      [0, 1, 2].map((rank) => ({ launcher, rank, size: 3, args })),
    );
    assertEquals(ranks.pids.length, launcher === "process" ? 3 : 0);
  });

  Deno.test(`${launcher}: a rank that throws ends the launch with its error`, async () => {
    await using ranks = launch(launcher, { rank: 1, does: "throws" });
    assertEquals(await ranks.failed, { rank: 1, reason: "TypeError: boom" });
    const error = await assertRejects(() => ranks.results, Error);
    assertEquals(error.message, "Cannot complete the launch as rank 1 failed: TypeError: boom");
    assertInstanceOf(error.cause, Error);
    assertMatch(error.cause.stack ?? "", /^TypeError: boom\n.*launcher_scenarios\.ts/s);
  });

  Deno.test(`${launcher}: a rank that exits is noticed at once`, async () => {
    const start = performance.now();
    await using ranks = launch(launcher, { rank: 2, does: "exits" });
    const { rank, reason } = await ranks.failed;
    assertEquals(rank, 2);
    assertMatch(reason, /^its (thread|process) ended early with code 7$/);
    await assertRejects(() => ranks.results, Error, "as rank 2 failed: its");
    assertLess(performance.now() - start, 10_000);
  });

  Deno.test(`${launcher}: an abort ends even a rank that does not listen`, async () => {
    await using ranks = await started((startedFile) =>
      launch(launcher, { rank: 1, does: "spins", startedFile })
    );
    ranks.abort("enough");
    const { reason } = await ranks.failed;
    assertStringIncludes(reason, "as the group was aborted: enough");
    const start = performance.now();
    await assertRejects(() => ranks.results, Error, "enough");
    // The grace period of a rank that is in an endless loop.
    assertGreater(performance.now() - start, 1500);
    assertEquals(ranks.pids.filter(runs), []);
  });

  Deno.test(`${launcher}: disposing kills what still runs`, async () => {
    const ranks = await started((startedFile) =>
      launch(launcher, { rank: 1, does: "spins", startedFile })
    );
    const start = performance.now();
    await ranks[Symbol.asyncDispose]();
    assertLess(performance.now() - start, 1500);
    await assertRejects(() => ranks.results, Error);
    assertEquals(ranks.pids.filter(runs), []);
  });

  Deno.test(`${launcher}: a module without rankMain is refused`, async () => {
    const entry = new URL("./ranks/reference.ts", import.meta.url);
    await using ranks = launchRanks(entry, { size: 1, launcher });
    await assertRejects(() => ranks.results, Error, "its module exports no function rankMain");
  });
}

Deno.test("a rank process that is killed is reported, and its waiting peers stop", async () => {
  await using ranks = await started((startedFile) =>
    launch("process", { rank: 1, does: "spins", startedFile })
  );
  const start = performance.now();
  Deno.kill(ranks.pids[1], "SIGKILL");
  assertEquals(await ranks.failed, { rank: 1, reason: "its process was killed by SIGKILL" });
  await assertRejects(() => ranks.results, Error, "as rank 1 failed: its process was killed");
  assertLess(performance.now() - start, 1500);
  assertEquals(ranks.pids.filter(runs), []);
});

Deno.test("rank processes leave SIGINT to their launcher", async () => {
  await using ranks = await started((startedFile) =>
    launch("process", { rank: 1, does: "waits", startedFile })
  );
  for (const pid of ranks.pids) Deno.kill(pid, "SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(ranks.pids.filter(runs).length, 3);
});

Deno.test("no rank process outlives a launcher that is killed", async () => {
  const parent = await started((startedFile) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", ORPHAN_PARENT.pathname, startedFile],
      stdout: "piped",
    }).spawn()
  );
  const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.endsWith("\n")) text += (await reader.read()).value ?? "\n";
  const pids = JSON.parse(text) as number[];
  assertEquals(pids.filter(runs).length, 3);
  parent.kill("SIGKILL");
  await parent.status;
  await reader.cancel();
  assertEquals(await untilGone(pids, 1000), []);
});

Deno.test("options out of range are refused before anything starts", () => {
  assertThrows(
    () => launchRanks(ENTRY, { size: 0 }),
    RangeError,
    "its size is not an integer from 1 to 64: 0",
  );
  assertThrows(() => launchRanks(ENTRY, { size: 65 }), RangeError, "1 to 64: 65");
  assertThrows(() => launchRanks(ENTRY, { size: 1, timeoutMs: 0 }), RangeError, "timeoutMs");
  assertThrows(
    () => launchRanks(ENTRY, { size: 1, channelBytes: 100 }),
    RangeError,
    "channelBytes",
  );
  const launcher = "mpi" as LauncherKind;
  assertThrows(
    () => launchRanks(ENTRY, { size: 1, launcher }),
    RangeError,
    "no such launcher: mpi",
  );
});
