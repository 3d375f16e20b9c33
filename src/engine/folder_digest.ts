/**
 * What a folder of weights holds, by hash.
 * @module
 */
import { createHash } from "node:crypto";
import { WeightsError } from "./weights.ts";

/** A file that says the hashes of others, as sha256sum writes it. */
const SUMS_FILE = "SHA256SUMS";

/** Bytes that are hashed in one go: less than a millisecond, as the thread serves requests too. */
const CHUNK_BYTES = 1 << 20;

/** Where a folder's hash is taken. */
export interface DigestOptions {
  /** Ends it; it then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * The SHA-256, in hex, of the lines `HASH  NAME\n`, as sha256sum prints them, of a folder's files in the order of
 * their names: those directly in it that are not hidden, without SHA256SUMS. In a shell, where there are no folders
 * inside: `LC_ALL=C sha256sum -- * | sha256sum`. Throws WeightsError (`invalid`) when a file can't be read.
 */
export async function folderDigest(folder: string, options: DigestOptions = {}): Promise<string> {
  const names = fileNames(folder);
  return listDigest(names, await hashFiles(folder, names, options));
}

/**
 * Refuses a folder that does not hold what `sha256` says (see {@linkcode folderDigest}), or what its own
 * SHA256SUMS says where it has one; reads nothing when there is neither. Throws WeightsError (`invalid`).
 */
export async function verifyFolderDigest(
  folder: string,
  { sha256, signal }: DigestOptions & { readonly sha256?: string },
): Promise<void> {
  const sums = readSums(folder);
  const names = sha256 === undefined ? [] : fileNames(folder);
  const hashes = await hashFiles(folder, new Set([...names, ...sums.keys()]), { signal });
  for (const [name, hash] of sums) {
    if (hashes.get(name) === hash) continue;
    refuse(`${folder}/${name} is not what ${SUMS_FILE} says: its SHA-256 is ${hashes.get(name)}`);
  }
  if (sha256 === undefined) return;
  const digest = listDigest(names, hashes);
  if (digest === sha256.toLowerCase()) return;
  refuse(
    `${folder} is not what was asked for: the SHA-256 of its files is ${digest}, not ${sha256}`,
  );
}

function listDigest(names: readonly string[], hashes: ReadonlyMap<string, string>): string {
  const list = createHash("sha256");
  for (const name of names) list.update(`${hashes.get(name)}  ${name}\n`);
  return list.digest("hex");
}

/** Names in the order of their code points. */
function fileNames(folder: string): string[] {
  const names = attempt(folder, () =>
    [...Deno.readDirSync(folder)]
      .map(({ name }) => name)
      .filter((name) => !name.startsWith(".") && name !== SUMS_FILE)
      .filter((name) => Deno.statSync(`${folder}/${name}`).isFile));
  const strange = names.find((name) => /[\n\r\\]/.test(name));
  if (strange !== undefined) {
    refuse(`sha256sum would write a name otherwise than it is: ${JSON.stringify(strange)}`);
  }
  const encoder = new TextEncoder();
  return names.map((name) => ({ name, bytes: encoder.encode(name) }))
    .sort((a, b) => compareBytes(a.bytes, b.bytes))
    .map(({ name }) => name);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

async function hashFiles(
  folder: string,
  names: Iterable<string>,
  { signal }: DigestOptions,
): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const name of names) {
    hashes.set(name, await hashFile(`${folder}/${name}`, signal));
  }
  return hashes;
}

async function hashFile(path: string, signal: AbortSignal | undefined): Promise<string> {
  using file = attempt(path, () => {
    // Checked before opening: opening a FIFO would wait for its writer.
    if (!Deno.statSync(path).isFile) throw new Error("it is not a regular file");
    return Deno.openSync(path);
  });
  const hash = createHash("sha256");
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const count = await file.read(buffer);
    if (count === null) return hash.digest("hex");
    hash.update(buffer.subarray(0, count));
  }
}

/** Lines `HASH  NAME` or `HASH *NAME`; empty without such a file. */
function readSums(folder: string): Map<string, string> {
  const path = `${folder}/${SUMS_FILE}`;
  const sums = new Map<string, string>();
  const text = attempt(path, () => {
    try {
      return Deno.readTextFileSync(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  });
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, hash, name] = /^([0-9a-fA-F]{64}) [ *]([^/\\]+)$/.exec(line) ?? [];
    if (name === undefined) refuse(`${path} has a line that is not a hash and a name: ${line}`);
    sums.set(name, hash.toLowerCase());
  }
  return sums;
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new WeightsError(`Cannot read ${path}: ${message}`, { reason: "invalid", cause });
  }
}

function refuse(what: string): never {
  throw new WeightsError(`Cannot use weights as ${what}`, { reason: "invalid" });
}
