import { assert, assertEquals, assertRejects } from "@std/assert";
import { readGoldenFile } from "../../../src/cli/golden_file.ts";
import { TextProcessor } from "../../../src/text/text_processor.ts";

const DEMO = new URL("../../../models/demo", import.meta.url).pathname;
const NO_TOKENIZER = new URL("../../fixtures/golden", import.meta.url).pathname;

async function read(lines: string, model = DEMO): Promise<unknown> {
  const file = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    await Deno.writeTextFile(file, lines);
    return await readGoldenFile(file, model);
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("golden prompts are token ids, or texts for the tokenizer of the new weights", async () => {
  using text = await TextProcessor.load(DEMO);
  assertEquals(
    await read('{"prompt":[1,2],"expected":[3],"max_tokens":4}\n\n{"prompt":"The KV cache"}\n'),
    [
      { prompt: [1, 2], expected: [3], max_tokens: 4 },
      { prompt: await text!.encode("The KV cache") },
    ],
  );
  for (
    const [line, reason] of [
      ["{", "line 2 of"],
      ['{"prompt":[1],"answer":[2]}', "the field is unknown: answer"],
    ]
  ) {
    const error = await assertRejects(() => read(`{"prompt":[1]}\n${line}`), Error, reason);
    assert(error.message.startsWith("Cannot read line 2"), error.message);
  }
  await assertRejects(() => read('{"prompt":"Hi"}', NO_TOKENIZER), Error, "give token ids");
});
