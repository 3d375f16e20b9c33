import { assert, assertEquals, assertThrows } from "@std/assert";
import { TextError } from "../../../src/text/text_error.ts";
import { TextModel } from "../../../src/text/text_model.ts";
import { sentencePieceTokenizer, writeFolder } from "./_fixtures.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

interface Question {
  question: string;
  answer: string;
  prompt_token_ids: number[];
  token_ids: number[];
}

function stream(model: TextModel, tokenIds: readonly number[], skipSpecialTokens = true): string {
  const detokenizer = model.openDetokenizer({ skipSpecialTokens });
  return tokenIds.map((id, at) => detokenizer.push([id], at === tokenIds.length - 1).text).join("");
}

Deno.test("the demo model's prompts and answers come out exactly", () => {
  const folder = `${ROOT}models/demo`;
  const questions: Question[] = JSON.parse(Deno.readTextFileSync(`${folder}/questions.json`));
  const model = TextModel.load(folder);
  assertEquals(questions.length, 60);
  for (const { question, answer, prompt_token_ids, token_ids } of questions) {
    const { tokenIds } = model.renderChat([{ role: "user", content: question }]);
    assertEquals(tokenIds, prompt_token_ids);
    assertEquals(model.decode(token_ids), answer);
    assertEquals(stream(model, token_ids), answer);
  }
  assertEquals(model.info.bosTokenId, 0);
  assertEquals(model.info.eosTokenId, 1);
  assert(model.info.hasChatTemplate);
});

Deno.test("the golden tokenizers give any text back, whole and streamed", () => {
  const text = "héllo 😀 wörld . \u{1F468}\u200D\u{1F469} ?\n\tend";
  for (const name of ["llama", "llama31", "mistral", "mixtral", "qwen2", "qwen3", "gpt2"]) {
    const model = TextModel.load(`${ROOT}tests/fixtures/golden/${name}`);
    const tokenIds = model.encode(text);
    assertEquals(model.decode(tokenIds), text);
    assertEquals(stream(model, tokenIds), text);
    assertEquals(model.tokenTexts(tokenIds).flatMap(({ bytes }) => bytes), [
      ...new TextEncoder().encode(text),
    ]);
    assertEquals(model.info.vocabSize, 320);
  }
});

Deno.test("SentencePiece: spaces, byte fallback and single tokens", () => {
  using folder = writeFolder({ "tokenizer.json": sentencePieceTokenizer() });
  const model = TextModel.load(folder.path);
  const text = "hi 😀 world  é";
  const tokenIds = model.encode(text);
  assertEquals(tokenIds[0], 1);
  assertEquals(model.decode(tokenIds), text);
  assertEquals(stream(model, tokenIds), text);
  assertEquals(
    stream(model, tokenIds, false),
    model.decode(tokenIds, { skipSpecialTokens: false }),
  );
  // A token in the middle of a text keeps its space; bytes are exact even when no character is whole.
  const texts = model.tokenTexts(model.encode("hi", { addSpecialTokens: false }));
  assertEquals(texts.map(({ text }) => text), [" h", "i"]);
  const emoji = model.encode("😀", { addSpecialTokens: false }).slice(-4);
  assertEquals(model.tokenTexts(emoji).flatMap(({ bytes }) => bytes), [0xf0, 0x9f, 0x98, 0x80]);
});

Deno.test("the begin token is never doubled", () => {
  using folder = writeFolder({
    "tokenizer.json": sentencePieceTokenizer(),
    "tokenizer_config.json": {
      bos_token: { content: "<s>" },
      eos_token: "</s>",
      add_bos_token: true,
      chat_template: [
        { name: "tool_use", template: "no" },
        { name: "default", template: "{{ bos_token }}[INST] {{ messages[0].content }} [/INST]" },
      ],
    },
  });
  const model = TextModel.load(folder.path);
  const { text, tokenIds } = model.renderChat([{ role: "user", content: "hi" }]);
  assertEquals(text, "<s>[INST] hi [/INST]");
  assertEquals(tokenIds.filter((id) => id === model.info.bosTokenId), [1]);
  assertEquals(model.encode("hi").filter((id) => id === 1).length, 1);
  assertEquals(model.encode("hi", { addSpecialTokens: false }).includes(1), false);
});

Deno.test("add_bos_token and add_eos_token override the post-processor", () => {
  const load = (config: Record<string, unknown>) => {
    using folder = writeFolder({
      "tokenizer.json": sentencePieceTokenizer(),
      "tokenizer_config.json": config,
      "special_tokens_map.json": { bos_token: "<s>", eos_token: "</s>" },
    });
    return TextModel.load(folder.path).encode("");
  };
  assertEquals(load({}), [1]);
  assertEquals(load({ add_bos_token: false }), []);
  assertEquals(load({ add_eos_token: true }), [1, 2]);
});

Deno.test("tokens that only tokenizer_config.json calls special are matched and skipped", () => {
  using folder = writeFolder({
    "tokenizer.json": { ...sentencePieceTokenizer(), added_tokens: [] },
    "tokenizer_config.json": { eos_token: "</s>", additional_special_tokens: ["<s>"] },
  });
  const model = TextModel.load(folder.path);
  assertEquals(model.info.specialTokenIds, [1, 2]);
  assertEquals(model.encode("</s>", { addSpecialTokens: false }), [2]);
  assertEquals(model.decode([1, 2]), "");
});

Deno.test("chat_template.jinja comes before chat_template.json and the configuration", () => {
  const files = {
    "tokenizer.json": sentencePieceTokenizer(),
    "tokenizer_config.json": { chat_template: "config" },
  };
  const json = { "chat_template.json": { chat_template: "json" } };
  const render = (more: Record<string, unknown>) => {
    using folder = writeFolder({ ...files, ...more });
    return TextModel.load(folder.path).renderChat([{ role: "user", content: "" }]).text;
  };
  assertEquals(render({}), "config");
  assertEquals(render(json), "json");
  assertEquals(render({ ...json, "chat_template.jinja": "jinja" }), "jinja");
});

Deno.test("a template that does not parse is told when it is used", () => {
  using folder = writeFolder({
    "tokenizer.json": sentencePieceTokenizer(),
    "chat_template.jinja": "{% for %}",
  });
  const model = TextModel.load(folder.path);
  assertEquals(model.decode(model.encode("hi")), "hi");
  assertThrows(
    () => model.renderChat([{ role: "user", content: "" }]),
    TextError,
    "chat_template.jinja",
  );
});

Deno.test("ids without a token have no text", () => {
  const model = TextModel.load(`${ROOT}models/demo`);
  const [id] = model.encode("hi");
  assertEquals(model.decode([5_000, id, -1]), model.decode([id]));
  assertEquals(stream(model, [5_000, id, 1_000_000]), model.decode([id]));
  assertEquals(model.decode([]), "");
  assertEquals(model.tokenTexts([5_000]), [{ token: "", text: "", bytes: [] }]);
});

Deno.test("decoding needs no merges", () => {
  const folder = `${ROOT}models/demo`;
  const tokenIds = TextModel.load(folder).encode("What is NCCL?");
  assertEquals(TextModel.load(folder, { decodeOnly: true }).decode(tokenIds), "What is NCCL?");
});

Deno.test("files that are malformed are refused by name", () => {
  const refused = (files: Record<string, unknown>, message: string) => {
    using folder = writeFolder(files);
    const error = assertThrows(() => TextModel.load(folder.path), TextError, message);
    assertEquals((error as TextError).reason, "load");
  };
  const good = sentencePieceTokenizer();
  refused({}, "no tokenizer.json");
  refused({ "tokenizer.json": "{" }, "tokenizer.json");
  refused({ "tokenizer.json": "[]" }, "not a JSON object");
  refused({ "tokenizer.json": { ...good, model: {} } }, "no vocabulary");
  refused({ "tokenizer.json": { ...good, model: { vocab: { a: 4e9 } } } }, "4000000000");
  refused({ "tokenizer.json": { ...good, added_tokens: [{ id: -1 }] } }, "added token");
  refused({ "tokenizer.json": { ...good, decoder: { type: "Nonsense" } } }, "Nonsense");
  refused({ "tokenizer.json": good, "tokenizer_config.json": "nope" }, "tokenizer_config.json");
  refused(
    { "tokenizer.json": good, "tokenizer_config.json": { chat_template: [{ name: "rag" }] } },
    "rag",
  );
});

Deno.test("a file above its limit is refused unread", () => {
  using folder = writeFolder({ "tokenizer.json": sentencePieceTokenizer() });
  using file = Deno.openSync(`${folder.path}/chat_template.jinja`, { write: true, create: true });
  file.truncateSync(5 << 20);
  assertThrows(() => TextModel.load(folder.path), TextError, "exceeds 4194304 bytes");
});

Deno.test("text above the limit is refused", () => {
  const model = TextModel.load(`${ROOT}models/demo`, { maxInputCharacters: 10 });
  assertThrows(() => model.encode("x".repeat(11)), TextError, "exceeds 10 characters");
  assertThrows(() => model.renderChat([{ role: "user", content: "hi" }]), TextError, "exceeds 10");
});
