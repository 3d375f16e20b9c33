/**
 * The safetensors files of a model folder: a single one, or shards with an index.
 * @module
 */
import { ModelLoadError } from "./errors.ts";
import { isJsonObject, readJsonFile } from "./json_file.ts";
import { readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.ts";

/** Largest index that is read. */
const MAX_INDEX_BYTES = 100_000_000;

/** A tensor and the file that holds it. */
export interface StoredTensor extends SafetensorsEntry {
  /** Path of the safetensors file. */
  readonly file: string;
  /** Size of that file when its header was checked. */
  readonly fileBytes: number;
}

/**
 * Reads the headers of all safetensors files of `folder` and returns its tensors by stored name.
 * `model.safetensors` is preferred over `model.safetensors.index.json`. Throws ModelLoadError for a
 * malformed header or index, a missing shard, and a tensor that is not where the index says.
 */
export function readCheckpointFiles(folder: string): Map<string, StoredTensor> {
  const single = `${folder}/model.safetensors`;
  if (exists(single)) return readShard(single);
  const index = `${folder}/model.safetensors.index.json`;
  if (exists(index)) return readShards(folder, index);
  const pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
    .find((name) => exists(`${folder}/${name}`));
  throw new ModelLoadError(
    pickled
      ? `Cannot load ${folder} as ${pickled} is a pickle, which can run code: convert it to safetensors`
      : `Cannot load ${folder} as it has neither model.safetensors nor model.safetensors.index.json`,
    { file: folder },
  );
}

function readShard(file: string): Map<string, StoredTensor> {
  const { fileBytes, tensors } = readSafetensorsHeader(file);
  const stored = new Map<string, StoredTensor>();
  for (const [name, entry] of tensors) stored.set(name, { ...entry, file, fileBytes });
  return stored;
}

function readShards(folder: string, index: string): Map<string, StoredTensor> {
  const weightMap = readWeightMap(index);
  const tensors = new Map<string, StoredTensor>();
  for (const shard of new Set(weightMap.values())) {
    for (const [name, tensor] of readShard(`${folder}/${shard}`)) {
      const other = tensors.get(name);
      if (other) {
        throw new ModelLoadError(
          `Cannot load tensor ${name} of ${tensor.file} as ${other.file} holds it too`,
          { file: tensor.file, tensor: name },
        );
      }
      tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of weightMap) {
    const file = `${folder}/${shard}`;
    if (tensors.get(name)?.file !== file) {
      throw new ModelLoadError(
        `Cannot load tensor ${name} as ${file}, which ${index} names for it, does not hold it`,
        { file, tensor: name },
      );
    }
  }
  return tensors;
}

/** Tensor names and the shard of each, every shard a plain file name beside the index. */
function readWeightMap(index: string): Map<string, string> {
  const weightMap = readJsonFile(index, MAX_INDEX_BYTES).weight_map;
  if (!isJsonObject(weightMap)) {
    throw new ModelLoadError(`Cannot load ${index} as its weight_map is not an object`, {
      file: index,
    });
  }
  return new Map(
    Object.entries(weightMap).map(([name, shard]) => {
      if (typeof shard !== "string" || !/^[^/\\\0]+\.safetensors$/.test(shard)) {
        throw new ModelLoadError(
          `Cannot load ${index} as tensor ${name} lies in what is not the name of a safetensors file ` +
            `beside it: ${JSON.stringify(shard)}`,
          { file: index, tensor: name },
        );
      }
      return [name, shard];
    }),
  );
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new ModelLoadError(`Cannot load ${path}: ${(error as Error).message}`, {
      file: path,
      cause: error,
    });
  }
}
