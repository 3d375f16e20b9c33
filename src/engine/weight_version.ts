/**
 * The name that weights get from what their files say.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { readCheckpointFiles, type StoredTensor } from "../models/checkpoint_files.ts";
import { ModelLoadError } from "../models/errors.ts";
import type { EngineConfig } from "./engine_config.ts";
import { WEIGHT_VERSION_PATTERN } from "./weights.ts";

/** Digits of a version. */
const VERSION_DIGITS = 12;

/** Bytes that are read of each tensor at its beginning, and as many at its middle. */
const SAMPLE_BYTES = 512;

/**
 * A SHA-256, in hex, that differs between fine-tunes of a model, is equal on every host, and reads little of
 * the files: config.json, the headers, and some bytes of every tensor (a fine-tune may change few of them).
 * Dummy weights follow from the config alone. Throws ModelLoadError when a file can't be read.
 */
export function weightFingerprint(
  { model, loadFormat }: Pick<EngineConfig, "model" | "loadFormat">,
): string {
  const hash = createHash("sha256");
  const config = `${model}/config.json`;
  try {
    hash.update(Deno.readFileSync(config));
  } catch (cause) {
    throw new ModelLoadError(`Cannot load ${config}: ${(cause as Error).message}`, {
      file: config,
      cause,
    });
  }
  if (loadFormat === "dummy") hash.update("dummy");
  else hashTensors(hash, readCheckpointFiles(model));
  return hash.digest("hex");
}

/** The version of weights: `name`, or what their fingerprint gives. Throws RangeError when the name cannot be one. */
export function weightVersion(name: string | undefined, fingerprint: string): string {
  if (name === undefined) return fingerprint.slice(0, VERSION_DIGITS);
  if (WEIGHT_VERSION_PATTERN.test(name)) return name;
  throw new RangeError(
    `Cannot name the weights as a version is 1 to 128 signs of printable ASCII without spaces: ${
      JSON.stringify(name.slice(0, 200))
    }`,
  );
}

/**
 * The name that was given to weights; undefined where it is the one that their files give, which whoever loads them
 * finds again, or finds another one should the files have changed.
 */
export function givenVersion(
  { model, version }: { readonly model: string; readonly version?: string },
  loadFormat: EngineConfig["loadFormat"],
): string | undefined {
  try {
    const fingerprint = weightFingerprint({ model, loadFormat });
    return version === weightVersion(undefined, fingerprint) ? undefined : version;
  } catch {
    return version; // Whoever loads it says what is wrong with the folder.
  }
}

/** In order of their names, since a cut into other files changes nothing. */
function hashTensors(hash: Hash, tensors: ReadonlyMap<string, StoredTensor>): void {
  using files = new OpenFiles();
  const buffer = new Uint8Array(SAMPLE_BYTES);
  for (const name of [...tensors.keys()].sort()) {
    const { dtype, shape, file, byteOffset, byteLength } = tensors.get(name)!;
    hash.update(`${JSON.stringify(name)} ${dtype} [${shape}]\n`);
    const handle = files.open(file);
    const sample = buffer.subarray(0, Math.min(SAMPLE_BYTES, byteLength));
    for (const start of [0, Math.floor((byteLength - sample.length) / 2)]) {
      handle.seekSync(byteOffset + start, Deno.SeekMode.Start);
      readFully(handle, sample, file);
      hash.update(sample);
    }
  }
}

function readFully(handle: Deno.FsFile, bytes: Uint8Array, file: string): void {
  for (let filled = 0; filled < bytes.length;) {
    const count = handle.readSync(bytes.subarray(filled));
    if (count === null) throw new ModelLoadError(`Cannot load ${file} as it has shrunk`, { file });
    filled += count;
  }
}

/** Files that are open until the last sample was read. */
class OpenFiles implements Disposable {
  readonly #handles = new Map<string, Deno.FsFile>();

  open(file: string): Deno.FsFile {
    const handle = this.#handles.get(file) ?? Deno.openSync(file);
    this.#handles.set(file, handle);
    return handle;
  }

  [Symbol.dispose](): void {
    for (const handle of this.#handles.values()) handle.close();
  }
}
