import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { BatchDisplay } from "../../../src/cli/batch_display.ts";
import { remoteReplicas } from "../../../src/cli/batch_replicas.ts";
import { RUN_BATCH_FLAGS } from "../../../src/cli/flags.ts";
import { createLogger } from "../../../src/cli/log.ts";
import { main } from "../../../src/cli/main.ts";
import { parseFlags } from "../../../src/cli/parse_flags.ts";
import { TestFolder } from "../_folder.ts";
import { TestClock } from "../routing/_clock.ts";

const QUIET = {
  print: () => {},
  writeError: () => {},
  terminal: false,
  log: createLogger(() => {}),
  env: () => undefined,
};

/** Exit status and what is said of the error. */
async function refusal(...args: string[]): Promise<[status: number, log: string]> {
  let log = "";
  const status = await main(["run-batch", ...args], {
    ...QUIET,
    log: createLogger((line) => log += `${line}\n`),
  });
  return [status, log];
}

Deno.test("what can't work is refused before anything is loaded", async () => {
  using folder = new TestFolder();
  const lines = [..."abcd"].map((id) =>
    JSON.stringify({ custom_id: id, method: "POST", url: "/v1/completions", body: {} })
  ).join("\n");
  const requests = folder.write("in.jsonl", lines);
  const twice = folder.write("twice.jsonl", `${lines}\n${lines}`);
  const there = folder.write("there.jsonl", "{}\n");
  const path = `${folder.path}/out.jsonl`;
  const files = ["-i", requests, "-o", path];
  const replica = ["--replica", "http://127.0.0.1:1"];
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [["-i", requests], 2, "Cannot run a batch: give --input and --output"],
    [["--input", twice, "-o", path], 1, `line 5 of ${twice} as its custom_id is that of line 1`],
    [["-i", requests, "-o", there], 1, "as it is not empty: --resume goes on with it"],
    [["-i", requests, "-o", there, "--resume"], 1, `line 1 of ${there} is no answer of a batch`],
    [[...files, ...replica, "--threads", "1"], 2, "Cannot use --threads as the servers"],
    [[...files, ...replica, "--served-model-name", "m"], 2, "Cannot use --served-model-name"],
    [[...files, "--replica-api-key", "k"], 2, "Cannot use --replica-api-key as no server"],
    [[...files, "--replica", "dns://host:80"], 2, "Cannot look up the names of servers"],
    [[...files, "--measure-scaling"], 2, "Cannot measure scaling as there is one replica only"],
    [[...files, "--measure-scaling", "--data-parallel-size", "2"], 2, "too few requests: 4"],
    [["-x", path], 2, "Unknown flag -x"],
  ];
  for (const [args, status, message] of cases) {
    const [actual, log] = await refusal(...args);
    assertStringIncludes(log, message);
    assertEquals(actual, status, log);
  }
});

Deno.test("servers of which none serves are named", async () => {
  const { values } = parseFlags([], { table: RUN_BATCH_FLAGS, env: () => undefined });
  const addresses = [{ url: "http://127.0.0.1:1", weight: 1 }];
  await assertRejects(
    () => remoteReplicas(addresses, { values, host: QUIET }),
    Error,
    "Cannot run the batch as no replica serves: 127.0.0.1:1 is",
  );
});

Deno.test("progress is one line that is drawn again, or a line now and then", () => {
  const shown = (terminal: boolean): string => {
    const clock = new TestClock();
    let text = "";
    {
      using display = new BatchDisplay({
        total: 20_010,
        skipped: 10,
        terminal,
        write: (written) => text += written,
        now: clock.now,
      });
      for (const requests of [10, 100, 10_000, 19_999]) {
        clock.pass(requests === 100 ? 100 : 40_000);
        const errors = requests === 10 ? 0 : 2;
        const totals = { requests, errors, promptTokens: 7, generationTokens: 3 * requests };
        display.show(totals, requests / 2);
      }
    }
    return text;
  };
  const lines = [
    "20/20010 requests, 6.0 tokens/s, 2:46:35 left",
    "10010/20010 requests, 2 failed, 6.0 tokens/s, 1:23:20 left",
    "20009/20010 requests, 2 failed, 6.0 tokens/s, 1 s left",
  ];
  assertEquals(shown(false), lines.map((line) => `${line}\n`).join(""));
  const [first, second, third] = lines;
  assertEquals(shown(true), `\r${first}\r${second}\r${third.padEnd(second.length)}\n`);
});
