import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { BatchOutput, type BatchOutputLine } from "../../../../src/serving/batch/batch_output.ts";
import { TestFolder } from "../../_folder.ts";

const REQUESTS = new Set(["a", "b", "☕", "d"]);

function line(customId: string, failed = false): BatchOutputLine {
  return {
    id: `line of ${customId}`,
    custom_id: customId,
    response: { status_code: failed ? 400 : 200, request_id: "r", body: { text: "\n ☕" } },
    error: failed ? { code: "c", message: "m" } : null,
  };
}

function textOf(lines: readonly BatchOutputLine[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

Deno.test("answers are appended a line each, and a file that holds some is refused", async () => {
  using folder = new TestFolder();
  const path = folder.write("out.jsonl", "");
  {
    using output = await BatchOutput.open(path, { resume: false, requests: REQUESTS });
    await output.append(line("b"));
    await output.append(line("a", true));
    await assertRejects(
      () => BatchOutput.open(path, { resume: true, requests: REQUESTS }),
      Error,
      "another process is writing to it",
    );
  }
  const text = textOf([line("b"), line("a", true)]);
  assertEquals(await Deno.readTextFile(path), text);
  await assertRejects(
    () => BatchOutput.open(path, { resume: false, requests: REQUESTS }),
    Error,
    "as it is not empty: --resume goes on with it",
  );
  assertEquals(await Deno.readTextFile(path), text);
});

Deno.test("a pipe or a device is refused: what it holds would be waited for", async () => {
  await assertRejects(
    () => BatchOutput.open("/dev/full", { resume: false, requests: REQUESTS }),
    Error,
    "Cannot write to /dev/full as it is no file",
  );
});

Deno.test("wherever a file was torn, every request is in it once when it was gone on with", async () => {
  using folder = new TestFolder();
  const lines = [line("b"), line("a", true), line("☕"), line("d", true)];
  const bytes = new TextEncoder().encode(textOf(lines));
  const path = folder.write("out.jsonl", "");
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length), async (size) => {
      await Deno.writeFile(path, bytes.subarray(0, size));
      using output = await BatchOutput.open(path, { resume: true, requests: REQUESTS });
      const kept = new TextDecoder().decode(bytes.subarray(0, size)).split("\n").length - 1;
      const done = lines.slice(0, kept).filter(({ error }) => error === null);
      assertEquals([...output.done], done.map(({ custom_id }) => custom_id));
      const missing = [...REQUESTS].filter((id) => !output.done.has(id)).map((id) => line(id));
      for (const answer of missing) await output.append(answer);
      assertEquals(await Deno.readTextFile(path), textOf([...done, ...missing]));
    }),
    { numRuns: 60, examples: [[0], [bytes.length]] },
  );
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["out.jsonl"]);
});

Deno.test("what is no output of this batch is left as it is", async () => {
  using folder = new TestFolder();
  const cases = [
    [textOf([line("e")]), 'line 1 of FILE answers what the input does not ask: "e"'],
    [textOf([line("a"), line("a")]), 'line 2 of FILE answers "a" again'],
    ["{}\n", "line 1 of FILE is no answer of a batch"],
    ["\n", "line 1 of FILE is no answer of a batch"],
  ] as const;
  for (const [text, reason] of cases) {
    const path = folder.write("out.jsonl", text);
    const { message } = await assertRejects(
      () => BatchOutput.open(path, { resume: true, requests: REQUESTS }),
      Error,
    );
    assertEquals(message.replace(path, "FILE"), `Cannot resume as ${reason}`);
    assertEquals(await Deno.readTextFile(path), text);
  }
});
