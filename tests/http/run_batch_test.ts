/** `weft run-batch` as a process: over servers of which one dies, over engines of its own, killed and gone on with. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TestFolder } from "../unit/_folder.ts";
import { eventually, startServe } from "./serve_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

interface Line {
  readonly custom_id: string;
  readonly response: { readonly status_code: number; readonly body: Body };
  readonly error: { readonly code: string } | null;
}

interface Body {
  readonly choices: readonly { readonly text: string }[];
  readonly error: { readonly message: string };
}

/** Requests that take a while, in a file. */
function input(folder: TestFolder, count: number, maxTokens = 40): string {
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      custom_id: `request ${i}`,
      method: "POST",
      url: "/v1/completions",
      body: {
        prompt: `The KV cache ${i}`,
        max_tokens: maxTokens,
        ignore_eos: true,
        temperature: 0,
      },
    }));
  return folder.write("in.jsonl", lines.join("\n"));
}

function start(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", "run-batch", ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function run(...args: string[]): Promise<{ code: number; out: string; log: string }> {
  const { code, stdout, stderr } = await start(args).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), log: decoder.decode(stderr) };
}

/** The whole lines of an output. */
function read(path: string): Line[] {
  const whole = Deno.readTextFileSync(path).split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line));
}

/** Texts by request; throws when one failed or is there twice. */
function texts(lines: readonly Line[]): Record<string, string> {
  for (const { error } of lines) assertEquals(error, null);
  const entries = lines.map(({ custom_id, response }) =>
    [custom_id, response.body.choices[0].text] as const
  );
  assertEquals(new Set(entries.map(([id]) => id)).size, entries.length);
  return Object.fromEntries(entries.sort(([a], [b]) => a < b ? -1 : 1));
}

Deno.test("run-batch: whatever is killed, every request is answered once, with the same tokens", async (test) => {
  using folder = new TestFolder();
  const requests = input(folder, 40);
  const whole = `${folder.path}/whole.jsonl`;

  await test.step("a server is killed, the others answer all", async () => {
    const key = ["--api-key", "secret"];
    await using first = await startServe("--threads", "1", ...key);
    await using second = await startServe("--threads", "1", ...key);
    const child = start([
      ...["-i", requests, "-o", whole, "--max-concurrency", "3", "--replica-api-key", "secret"],
      ...[first, second].flatMap(({ url }) => ["--replica", url]),
    ]);
    await eventually(() => exists(whole) && read(whole).length > 5, { what: "answers" });
    Deno.kill(first.pid, "SIGKILL");
    const { code } = await child.output();
    assertEquals(code, 0);
    assertEquals(Object.keys(texts(read(whole))).length, 40);
  });

  await test.step("engines of its own are killed with it, and it is gone on with", async () => {
    const path = `${folder.path}/out.jsonl`;
    const args = ["-i", requests, "--max-concurrency", "2", "--data-parallel-size", "2"];
    const child = start([...args, "-o", path]);
    await eventually(() => exists(path) && read(path).length > 3, { what: "answers" });
    child.kill("SIGKILL");
    await child.output();
    const before = read(path);
    assert(before.length < 40, "it was killed under way");
    // As a kernel may leave it: a line of which a part was written.
    Deno.writeTextFileSync(path, '{"id":"batch_req_1","custom_id":"requ', { append: true });
    const { code, out } = await run(...args, "-o", path, "--resume");
    assertEquals(code, 0);
    assertMatch(out, new RegExp(`^errors: 0\nanswered_before: ${before.length}$`, "m"));
    assertEquals(read(path).slice(0, before.length), before);
    assertEquals(texts(read(path)), texts(read(whole)));
  });
});

Deno.test("run-batch: what fails is told, run again, and replaced; scaling is measured", async () => {
  using folder = new TestFolder();
  const path = `${folder.path}/out.jsonl`;
  const line = (id: string, body: object): string =>
    JSON.stringify({ custom_id: id, method: "POST", url: "/v1/completions", body });
  const good = Array.from(
    { length: 8 },
    (_, i) => line(`good ${i}`, { prompt: "KV", max_tokens: 4 }),
  );
  const requests = folder.write(
    "in.jsonl",
    [line("bad", { prompt: "x", max_tokens: 1e6, ignore_eos: true }), ...good].join("\n"),
  );
  const args = ["-i", requests, "-o", path, "--data-parallel-size", "2"];
  const failed = await run(...args, "--measure-scaling", "--json", "--order", "input");
  assertEquals(failed.code, 1);
  assertStringIncludes(failed.log, "1 of 9 requests failed");
  const { scaling_efficiency: efficiency } = JSON.parse(failed.out);
  assert(efficiency > 0, `${efficiency}`);
  assertMatch(failed.log, /scaling was measured for [\d.]+ s only/);
  const ids = ["bad", ...good.map((_, i) => `good ${i}`)];
  assertEquals(read(path).map(({ custom_id }) => custom_id), ids);
  const [bad] = read(path);
  assertEquals([bad.custom_id, bad.response.status_code], ["bad", 400]);
  assertMatch(bad.response.body.error.message, /context of 512 tokens/);

  Deno.writeTextFileSync(requests, Deno.readTextFileSync(requests).replace("1000000", "3"));
  const again = await run(...args, "--resume", "--json");
  const summary = JSON.parse(again.out);
  assertEquals([again.code, summary.requests, summary.errors], [0, 1, 0]);
  assertEquals([summary.generated_tokens, summary.scaling_efficiency], [3, null]);
  assertEquals(Object.keys(texts(read(path))).length, 9);
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
