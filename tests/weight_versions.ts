/**
 * Folders of weights for tests of updates: other versions of a model, and ones that must be refused.
 * @module
 */
import type { Replica } from "../src/engine/types.ts";
import { readSafetensorsHeader } from "../src/models/safetensors.ts";

/** A model folder that is removed when it is disposed. */
export interface WeightsCopy extends Disposable {
  /** Its path. */
  readonly folder: string;
}

/** A copy of a model folder with the same bytes. */
export function copyWeights(from: string): WeightsCopy {
  const folder = Deno.makeTempDirSync({ prefix: "weft-weights-" });
  for (const { name, isFile } of Deno.readDirSync(from)) {
    if (isFile && name !== "golden.json") Deno.copyFileSync(`${from}/${name}`, `${folder}/${name}`);
  }
  return { folder, [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }) };
}

/**
 * Another version of a model: the same files, but the rows of every matrix are rotated by `rotation`, so that it
 * answers otherwise. Each rotation gives another version; any element type will do.
 */
export function otherWeights(from: string, rotation = 1): WeightsCopy {
  const copy = copyWeights(from);
  for (const { name } of Deno.readDirSync(copy.folder)) {
    if (name.endsWith(".safetensors")) rotateRows(`${copy.folder}/${name}`, rotation);
  }
  return copy;
}

function rotateRows(file: string, rotation: number): void {
  const bytes = Deno.readFileSync(file);
  for (const { shape, byteOffset, byteLength } of readSafetensorsHeader(file).tensors.values()) {
    if (shape.length !== 2) continue;
    const tensor = bytes.subarray(byteOffset, byteOffset + byteLength);
    const shift = (rotation % shape[0]) * (byteLength / shape[0]);
    const rotated = tensor.slice();
    rotated.set(tensor.subarray(shift));
    rotated.set(tensor.subarray(0, shift), byteLength - shift);
    tensor.set(rotated);
  }
  Deno.writeFileSync(file, bytes);
}

/** What may be wrong with a folder; each must be found before the weights are used. */
export const DAMAGES = [
  "truncated",
  "missing tensor",
  "architecture",
  "shape",
  "tokenizer",
] as const;

/** One of {@linkcode DAMAGES}. */
export type Damage = typeof DAMAGES[number];

/** A copy of a model folder (one safetensors file, Llama's config) with something wrong. */
export function damagedWeights(from: string, damage: Damage): WeightsCopy {
  const copy = copyWeights(from);
  const weights = `${copy.folder}/model.safetensors`;
  switch (damage) {
    case "truncated":
      Deno.truncateSync(weights, Deno.statSync(weights).size - 1000);
      break;
    case "missing tensor":
      edit(weights, "model.norm.weight", "model.norm.unknow");
      break;
    case "architecture":
      editConfig(copy.folder, { model_type: "mistral", architectures: ["MistralForCausalLM"] });
      break;
    case "shape":
      editConfig(copy.folder, { num_hidden_layers: 3 });
      break;
    case "tokenizer":
      Deno.writeTextFileSync(`${copy.folder}/tokenizer.json`, "\n", { append: true });
      break;
  }
  return copy;
}

/** Changes one byte in the middle of a file: nothing but a hash notices. */
export function flipByte(file: string): void {
  const bytes = Deno.readFileSync(file);
  bytes[bytes.length >> 1] ^= 1;
  Deno.writeFileSync(file, bytes);
}

function edit(file: string, from: string, to: string): void {
  const bytes = Deno.readFileSync(file);
  const place = new TextDecoder("latin1").decode(bytes).indexOf(from);
  if (place < 0) throw new Error(`${file} does not hold ${from}`);
  bytes.set(new TextEncoder().encode(to), place);
  Deno.writeFileSync(file, bytes);
}

function editConfig(folder: string, changes: Readonly<Record<string, unknown>>): void {
  const file = `${folder}/config.json`;
  const config = JSON.parse(Deno.readTextFileSync(file));
  Deno.writeTextFileSync(file, JSON.stringify({ ...config, ...changes }));
}

/** What a replica answers greedily: the tokens, and the versions that its chunks name. */
export interface VersionedAnswer {
  /** Tokens. */
  readonly tokenIds: readonly number[];
  /** Versions, each once. */
  readonly versions: readonly string[];
  /** Why it ended. */
  readonly finishReason: string | null;
}

/** Generates `maxTokens` greedy tokens, past end tokens. */
export async function greedyAnswer(
  replica: Pick<Replica, "generate">,
  { promptTokenIds, maxTokens, signal }: {
    readonly promptTokenIds: readonly number[];
    readonly maxTokens: number;
    readonly signal?: AbortSignal;
  },
): Promise<VersionedAnswer> {
  const tokenIds: number[] = [];
  const versions = new Set<string>();
  let finishReason: string | null = null;
  const sampling = { temperature: 0, ignoreEos: true, maxTokens };
  for await (const chunk of replica.generate({ promptTokenIds, sampling, signal })) {
    tokenIds.push(...chunk.tokenIds);
    versions.add(chunk.weightVersion);
    finishReason = chunk.finishReason;
  }
  return { tokenIds, versions: [...versions], finishReason };
}
