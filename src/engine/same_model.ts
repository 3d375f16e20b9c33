/**
 * Whether weights may take the place of others.
 * @module
 */
import { createHash } from "node:crypto";
import type { ModelConfig } from "../models/model_config.ts";
import { WeightsError } from "./weights.ts";

/** What may differ between weights of one model: how they are stored, and which tokens frame a text. */
const FREE: ReadonlySet<string> = new Set<keyof ModelConfig>([
  "dtype",
  "quantization",
  "bosTokenId",
  "eosTokenIds",
]);

/** The files that decide how a text becomes tokens. */
const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.json",
  "chat_template.jinja",
];

/** Refuses a config of another model; throws WeightsError (`invalid`) that names what differs. */
export function verifySameModel(config: ModelConfig, present: ModelConfig): void {
  const keys = Object.keys(present) as (keyof ModelConfig)[];
  // The architecture first: where it differs, so do others, which would only puzzle.
  for (const key of new Set<keyof ModelConfig>(["architecture", ...keys])) {
    if (FREE.has(key)) continue;
    const [is, must] = [config, present].map((model) => JSON.stringify(model[key]));
    if (is === must) continue;
    throw new WeightsError(
      `Cannot serve weights in place of others as ${key} of their config.json must be ${must}: it is ${is}`,
      { reason: "invalid" },
    );
  }
}

/** SHA-256 of each of the files that make the tokenizer of `folder`, null for those that are not there. */
export function tokenizerDigests(folder: string): Readonly<Record<string, string | null>> {
  return Object.fromEntries(TOKENIZER_FILES.map((name) => [name, digestOf(`${folder}/${name}`)]));
}

/** Refuses another tokenizer, as texts and tokens would no longer agree; throws WeightsError (`invalid`). */
export function verifySameTokenizer(
  digests: Readonly<Record<string, string | null>>,
  present: Readonly<Record<string, string | null>>,
): void {
  for (const name of TOKENIZER_FILES) {
    if (digests[name] === present[name]) continue;
    throw new WeightsError(
      `Cannot serve weights in place of others as their ${name} must be the same: it differs, or is missing`,
      { reason: "invalid" },
    );
  }
}

function digestOf(path: string): string | null {
  try {
    return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
