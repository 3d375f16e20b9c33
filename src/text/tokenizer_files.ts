/**
 * Reads the tokenizer's files of a Hugging Face model folder.
 * @module
 */
import { messageOf, TextError } from "./text_error.ts";

/** A JSON object. */
export type JsonObject = { [key: string]: unknown };

/** An entry of tokenizer.json's `added_tokens`. */
export interface AddedTokenEntry extends JsonObject {
  /** Its id. */
  id: number;
  /** Its text. */
  content: string;
  /** Left out of decoded text when special tokens are skipped. */
  special: boolean;
}

/** What the files of a folder say, checked and completed. */
export interface TokenizerFiles {
  /** tokenizer.json, with `added_tokens` completed from the other files. */
  readonly tokenizer: JsonObject & { added_tokens: AddedTokenEntry[] };
  /** tokenizer_config.json; empty when there is none. */
  readonly config: JsonObject;
  /** Highest id of the vocabulary and the added tokens, plus one. */
  readonly vocabSize: number;
  /** Special tokens by role: `bos_token`, `eos_token`, ..., `additional_special_tokens`. */
  readonly specialTokens: Readonly<Record<string, string | string[]>>;
  /** Source of the chat template, null when there is none. */
  readonly chatTemplate: string | null;
  /** Where the template was found, for messages. */
  readonly chatTemplateFile: string;
}

/** The largest files in use are about 35 MB; a file above its limit is refused unread. */
const MAX_BYTES = {
  "tokenizer.json": 256 << 20,
  "tokenizer_config.json": 32 << 20,
  "special_tokens_map.json": 4 << 20,
  "chat_template.json": 4 << 20,
  "chat_template.jinja": 4 << 20,
} as const;
type FileName = keyof typeof MAX_BYTES;

/** Ids index arrays, so a file must not name one far out. */
const MAX_TOKEN_ID = 1 << 24;

const ROLES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
];

/**
 * Reads tokenizer.json, tokenizer_config.json, special_tokens_map.json and the chat template.
 *
 * @throws {TextError} when tokenizer.json is missing or a file is too large or malformed.
 */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const tokenizer = readJson(folder, "tokenizer.json");
  if (tokenizer === null) {
    throw new TextError(
      `Cannot load the tokenizer as there is no tokenizer.json: ${folder}`,
      "load",
    );
  }
  const config = readJson(folder, "tokenizer_config.json") ?? {};
  const map = readJson(folder, "special_tokens_map.json") ?? {};
  const vocabulary = checkVocabulary(tokenizer, folder);
  const specialTokens = collectSpecialTokens(map, config);
  const added = checkAddedTokens(tokenizer, folder);
  completeAddedTokens(added, { config, specialTokens, vocabulary });
  const [chatTemplate, chatTemplateFile] = findChatTemplate(folder, config);
  return {
    tokenizer: {
      // The reference implementation takes a key that is left out for null.
      ...{ normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
      ...tokenizer,
      added_tokens: added,
    },
    config,
    vocabSize: added.reduce((size, { id }) => Math.max(size, id + 1), vocabulary.size),
    specialTokens,
    chatTemplate,
    chatTemplateFile,
  };
}

function readText(folder: string, name: FileName): string | null {
  const path = `${folder}/${name}`;
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_BYTES[name]) {
      throw new TextError(
        `Cannot load ${path} as it exceeds ${MAX_BYTES[name]} bytes: current size is ${size}`,
        "load",
      );
    }
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof TextError) throw error;
    throw new TextError(`Cannot read ${path}: ${messageOf(error)}`, "load", { cause: error });
  }
}

function readJson(folder: string, name: FileName): JsonObject | null {
  const text = readText(folder, name);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TextError(`Cannot parse ${folder}/${name}: ${messageOf(error)}`, "load");
  }
  if (!isObject(value)) {
    throw new TextError(`Cannot use ${folder}/${name} as it is not a JSON object`, "load");
  }
  return value;
}

interface Vocabulary {
  /** Highest id plus one. */
  readonly size: number;
  /** Id of a token's text, null when it is not listed. */
  readonly idOf: (token: string) => number | null;
}

/** Checks the ids of the model's vocabulary. */
function checkVocabulary(tokenizer: JsonObject, folder: string): Vocabulary {
  const model = tokenizer.model;
  const vocab = isObject(model) ? model.vocab : undefined;
  const refuse = (what: string) =>
    new TextError(`Cannot use ${folder}/tokenizer.json as ${what}`, "load");
  if (Array.isArray(vocab)) {
    if (!vocab.every((entry) => Array.isArray(entry) && typeof entry[0] === "string")) {
      throw refuse("its vocabulary has an entry that is not [text, score]");
    }
    const ids = new Map(vocab.map(([token], id) => [token as string, id]));
    return { size: vocab.length, idOf: (token) => ids.get(token) ?? null };
  }
  if (!isObject(vocab)) throw refuse("its model has no vocabulary");
  let size = 0;
  for (const [token, id] of Object.entries(vocab)) {
    if (!isTokenId(id)) {
      throw refuse(`the id of token ${JSON.stringify(token)} is not valid: ${id}`);
    }
    size = Math.max(size, id + 1);
  }
  return { size, idOf: (token) => Object.hasOwn(vocab, token) ? vocab[token] as number : null };
}

function checkAddedTokens(tokenizer: JsonObject, folder: string): AddedTokenEntry[] {
  const entries = tokenizer.added_tokens ?? [];
  const valid = (entry: unknown): entry is AddedTokenEntry =>
    isObject(entry) && isTokenId(entry.id) && typeof entry.content === "string";
  if (!Array.isArray(entries) || !entries.every(valid)) {
    throw new TextError(
      `Cannot use ${folder}/tokenizer.json as an added token has no valid id and content`,
      "load",
    );
  }
  return entries.map((entry) => ({ ...entry, special: entry.special === true }));
}

/** A token is written as its text or as an object that holds it. */
function tokenText(value: unknown): string | null {
  if (typeof value === "string") return value;
  return isObject(value) && typeof value.content === "string" ? value.content : null;
}

function collectSpecialTokens(
  map: JsonObject,
  config: JsonObject,
): Record<string, string | string[]> {
  const tokens: Record<string, string | string[]> = {};
  for (const source of [map, config]) {
    for (const role of ROLES) {
      const text = tokenText(source[role]);
      if (text !== null) tokens[role] = text;
    }
    const more = source.additional_special_tokens ?? source.extra_special_tokens;
    if (Array.isArray(more)) {
      tokens.additional_special_tokens = more.map(tokenText).filter((text) => text !== null);
    } else if (isObject(more)) {
      for (const [role, value] of Object.entries(more)) {
        const text = tokenText(value);
        if (text !== null) tokens[role] = text;
      }
    }
  }
  return tokens;
}

/**
 * What the other files name as special is matched as a whole and skipped as such, even where
 * tokenizer.json lists it as a plain entry of the vocabulary (as transformers does on loading).
 */
function completeAddedTokens(
  added: AddedTokenEntry[],
  sources: {
    readonly config: JsonObject;
    readonly specialTokens: Readonly<Record<string, string | string[]>>;
    readonly vocabulary: Vocabulary;
  },
): void {
  const byContent = new Map(added.map((entry) => [entry.content, entry]));
  const ids = new Set(added.map((entry) => entry.id));
  const add = (entry: AddedTokenEntry) => {
    if (byContent.has(entry.content) || ids.has(entry.id)) return;
    added.push(entry);
    byContent.set(entry.content, entry);
    ids.add(entry.id);
  };
  const listed = sources.config.added_tokens_decoder;
  for (const [key, value] of Object.entries(isObject(listed) ? listed : {})) {
    const content = tokenText(value);
    if (content === null || !isTokenId(Number(key)) || !isObject(value)) continue;
    add({ ...value, id: Number(key), content, special: value.special === true });
  }
  for (const content of Object.values(sources.specialTokens).flat()) {
    const known = byContent.get(content);
    if (known !== undefined) {
      known.special = true;
      continue;
    }
    const id = sources.vocabulary.idOf(content);
    if (id !== null) add({ id, content, special: true, normalized: false });
  }
}

function findChatTemplate(folder: string, config: JsonObject): [string | null, string] {
  const jinja = readText(folder, "chat_template.jinja");
  if (jinja !== null) return [jinja, `${folder}/chat_template.jinja`];
  for (
    const [file, holder] of [
      [`${folder}/chat_template.json`, readJson(folder, "chat_template.json")],
      [`${folder}/tokenizer_config.json`, config],
    ] as const
  ) {
    const template = holder?.chat_template ?? null;
    if (template !== null) return [pickTemplate(template, file), file];
  }
  return [null, ""];
}

/** A template is given as text or as a list of named ones, of which "default" counts. */
function pickTemplate(template: unknown, file: string): string {
  if (typeof template === "string") return template;
  const named = Array.isArray(template) ? template.filter(isObject) : [];
  const chosen = named.find((entry) => entry.name === "default")?.template;
  if (typeof chosen === "string") return chosen;
  const names = named.map((entry) => String(entry.name)).join(", ");
  throw new TextError(
    `Cannot use the chat templates of ${file} as none is named default: names are ${
      names || "none"
    }`,
    "load",
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTokenId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < MAX_TOKEN_ID;
}
