/**
 * Reading the JSON files of a model folder, strictly.
 * @module
 */
import { ModelLoadError } from "./errors.ts";

/** Any JSON value. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  /** Value of each key. */
  [key: string]: JsonValue;
}

/** Whether `value` is a JSON object: neither null nor a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads a JSON object of at most `maxBytes` bytes from `file`. Throws ModelLoadError when it cannot be
 * read, is larger, is not valid UTF-8 or JSON, names a key twice, or is not an object.
 */
export function readJsonFile(file: string, maxBytes: number): JsonObject {
  let bytes: Uint8Array;
  try {
    const { size, isFile } = Deno.statSync(file);
    if (!isFile) throw new Error("it is not a regular file");
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes: ${size} bytes`);
    bytes = Deno.readFileSync(file);
  } catch (cause) {
    throw new ModelLoadError(`Cannot load ${file}: ${messageOf(cause)}`, { file, cause });
  }
  return parseJsonObject(bytes, file);
}

/** Parses UTF-8 bytes of `file` into an object; throws ModelLoadError as {@linkcode readJsonFile} does. */
export function parseJsonObject(bytes: Uint8Array, file: string): JsonObject {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new ModelLoadError(`Cannot load ${file} as ${reason}`, { file, cause });
  };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    return refuse("its JSON is not valid UTF-8", cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return refuse(`its JSON is malformed: ${messageOf(cause)}`, cause);
  }
  if (!isJsonObject(value)) return refuse("its JSON is not an object");
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) return refuse(`its JSON names a key twice: "${duplicate}"`);
  return value;
}

/**
 * The first key that an object in the valid JSON `text` has twice, or null. (`JSON.parse` keeps the
 * last and says nothing.)
 */
function findDuplicateKey(text: string): string | null {
  // One entry for each open object or list; lists have no keys.
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(null);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
      const keys = open.at(-1);
      if (!keys || !isKey(text, i + 1)) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

/** Whether a string that ended before `index` is a key: a colon follows. */
function isKey(text: string, index: number): boolean {
  while (" \t\n\r".includes(text[index])) index++;
  return text[index] === ":";
}

/** Message of whatever was thrown. */
function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
