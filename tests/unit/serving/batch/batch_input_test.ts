import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type BatchRequest,
  checkBatchInput,
  readBatchInput,
} from "../../../../src/serving/batch/batch_input.ts";
import { readLines } from "../../../../src/serving/batch/lines.ts";
import { TestFolder } from "../../_folder.ts";

const LINE = { custom_id: "a", method: "POST", url: "/v1/completions", body: { prompt: "x" } };

async function refusal(content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  using folder = new TestFolder();
  const path = folder.write("in.jsonl", content);
  const { message } = await assertRejects(() => checkBatchInput(path), Error);
  return message.replace(path, "FILE");
}

Deno.test("requests are read in their order, without those that are done", async () => {
  using folder = new TestFolder();
  const chat = { ...LINE, custom_id: "b", url: "/v1/chat/completions", body: { messages: [] } };
  const lines = [LINE, chat, { ...LINE, custom_id: "☕" }].map((line) => JSON.stringify(line));
  const path = folder.write("in.jsonl", `\ufeff${lines.join("\r\n\n")}`);
  assertEquals([...await checkBatchInput(path)], ["a", "b", "☕"]);
  const requests: BatchRequest[] = await Array.fromAsync(readBatchInput(path, new Set(["a"])));
  assertEquals(requests, [
    { customId: "b", url: "/v1/chat/completions", body: { messages: [] } },
    { customId: "☕", url: "/v1/completions", body: { prompt: "x" } },
  ]);
});

Deno.test("a line that is no request is named, with what is wrong", async () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [[], "it is not an object"],
    [{ ...LINE, custom_id: "" }, 'custom_id must be a text that is not empty: ""'],
    [{ ...LINE, custom_id: 7 }, "custom_id must be a text that is not empty: 7"],
    [{ ...LINE, method: undefined }, 'method must be "POST": it is missing'],
    [
      { ...LINE, url: "/v1/embeddings" },
      'url must be one of /v1/completions, /v1/chat/completions: "/v1/embeddings"',
    ],
    [{ ...LINE, body: null }, "body must be an object: null"],
    [
      { ...LINE, body: { stream: true } },
      "body.stream must not be true: answers of a batch are whole",
    ],
    [{ ...LINE, mehtod: 1 }, 'the field is unknown: "mehtod"'],
    [LINE, 'its custom_id is that of line 1: "a"'],
  ];
  for (const [line, reason] of cases) {
    const content = `${JSON.stringify(LINE)}\n\n${JSON.stringify(line)}\n`;
    assertEquals(await refusal(content), `Cannot read line 3 of FILE as ${reason}`);
  }
  const torn = await refusal(JSON.stringify(LINE).slice(0, -3));
  assertMatch(torn, /^Cannot read line 1 of FILE as it is not valid JSON: ./);
  assertEquals(
    await refusal(Uint8Array.of(0x22, 0xff, 0x22)),
    "Cannot read line 1 of FILE as it is not valid UTF-8",
  );
  assertEquals(await refusal("\n"), "Cannot run FILE as it holds no request");
  await assertRejects(() => checkBatchInput("/dev/null"), Error, "it is no file");
});

Deno.test("lines know where they end, however long they are", async () => {
  using folder = new TestFolder();
  const texts = ["", "☕", "x".repeat(200_000), "y".repeat(65_535), "last"];
  const path = folder.write("lines", texts.join("\n"));
  const lines = await Array.fromAsync(readLines(path));
  assertEquals(lines.map(({ text }) => text), texts);
  assertEquals(lines.map(({ number }) => number), [1, 2, 3, 4, 5]);
  assertEquals(lines.map(({ ended }) => ended), [true, true, true, true, false]);
  assertEquals(lines.map(({ end }) => end), [1, 5, 200_006, 265_542, 265_546]);
});
