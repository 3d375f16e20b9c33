/** Small tokenizers in the shapes of real families, written into a folder that a test owns. */

/** Files of a model folder by name; objects are written as JSON. */
export type FixtureFiles = Readonly<Record<string, unknown>>;

/** Writes files into a fresh folder, which is removed when disposed. */
export function writeFolder(files: FixtureFiles): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "weft_text_" });
  for (const [name, content] of Object.entries(files)) {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    Deno.writeTextFileSync(`${path}/${name}`, text);
  }
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

/** SentencePiece BPE as Llama 2 and Mistral have it: `▁` for spaces, bytes as fallback, `<s>` before. */
export function sentencePieceTokenizer(): Record<string, unknown> {
  const pieces = ["<unk>", "<s>", "</s>"];
  for (let byte = 0; byte < 256; byte++) {
    pieces.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  }
  pieces.push("▁", ..."abcdefghijklmnopqrstuvwxyzHINST[]/.,?", "▁h", "▁w");
  const added = (id: number) => ({ id, content: pieces[id], special: true, normalized: false });
  return {
    added_tokens: [added(0), added(1), added(2)],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 0 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ["▁ h", "▁ w"],
    },
  };
}

/** A tokenizer of single letters whose decoder never finishes on a long run of `a`. */
export function hangingTokenizer(): Record<string, unknown> {
  const letters = [..."abcdefghijklmnopqrstuvwxyz "];
  return {
    added_tokens: [],
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Fuse" },
        { type: "Replace", pattern: { Regex: "(a+)+c" }, content: "x" },
      ],
    },
    model: {
      type: "BPE",
      unk_token: null,
      vocab: Object.fromEntries(letters.map((letter, id) => [letter, id])),
      merges: [],
    },
  };
}
