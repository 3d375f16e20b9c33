/**
 * The input of a batch: OpenAI's format, a request on each line.
 * @module
 */
import { type FileLine, readLines } from "./lines.ts";

/** Paths that a batch may ask. */
const URLS = ["/v1/completions", "/v1/chat/completions"] as const;

const FIELDS: ReadonlySet<string> = new Set(["custom_id", "method", "url", "body"]);

/** One request of a batch. */
export interface BatchRequest {
  /** Names it; no other of the batch has this name. */
  readonly customId: string;
  /** What it asks. */
  readonly url: typeof URLS[number];
  /** Body of the HTTP request. */
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * The names of all requests of a file, in its order, with each line checked. Throws Error, which names the line, for
 * one that is no request, or has the name of another. Names are held in memory, bodies are not.
 */
export async function checkBatchInput(path: string): Promise<ReadonlySet<string>> {
  const { isFile } = await Deno.stat(path);
  if (!isFile) {
    throw new Error(`Cannot read ${path} twice, as is needed to check it: it is no file`);
  }
  const lines = new Map<string, number>();
  for await (const { number, customId } of read(path)) {
    const other = lines.get(customId);
    if (other !== undefined) {
      throw lineError(path, number, `its custom_id is that of line ${other}: ${quote(customId)}`);
    }
    lines.set(customId, number);
  }
  if (lines.size === 0) throw new Error(`Cannot run ${path} as it holds no request`);
  return new Set(lines.keys());
}

/** The requests of a file that are not `done`, in its order; throws as {@linkcode checkBatchInput} does. */
export async function* readBatchInput(
  path: string,
  done: ReadonlySet<string> = new Set(),
): AsyncGenerator<BatchRequest, void, void> {
  for await (const { customId, url, body } of read(path)) {
    if (!done.has(customId)) yield { customId, url, body };
  }
}

async function* read(path: string): AsyncGenerator<BatchRequest & { readonly number: number }> {
  for await (const line of readLines(path)) {
    if (line.text?.trim() === "") continue;
    const { number } = line;
    const parsed = parse(line);
    if (typeof parsed === "string") throw lineError(path, number, parsed);
    yield { number, ...parsed };
  }
}

/** The request, or what is wrong with it. */
function parse({ text }: FileLine): BatchRequest | string {
  if (text === null) return "it is not valid UTF-8";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `it is not valid JSON: ${(error as SyntaxError).message}`;
  }
  if (!isObject(value)) return "it is not an object";
  const unknown = Object.keys(value).find((key) => !FIELDS.has(key));
  if (unknown !== undefined) return `the field is unknown: ${quote(unknown)}`;
  const { custom_id: customId, method, url, body } = value;
  if (typeof customId !== "string" || customId === "") {
    return `custom_id must be a text that is not empty: ${quote(customId)}`;
  }
  if (method !== "POST") return `method must be "POST": ${quote(method)}`;
  const known = URLS.find((known) => known === url);
  if (known === undefined) return `url must be one of ${URLS.join(", ")}: ${quote(url)}`;
  if (!isObject(body)) return `body must be an object: ${quote(body)}`;
  if (body.stream === true) return "body.stream must not be true: answers of a batch are whole";
  return { customId, url: known, body };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quote(value: unknown): string {
  return value === undefined ? "it is missing" : JSON.stringify(value).slice(0, 200);
}

function lineError(path: string, number: number, reason: string): Error {
  return new Error(`Cannot read line ${number} of ${path} as ${reason}`);
}
