/**
 * The output of a batch: OpenAI's format, an answer on each line.
 * @module
 */
import { readLines } from "./lines.ts";

/** A line of the output. */
export interface BatchOutputLine {
  /** Names the line. */
  readonly id: string;
  /** Names the request. */
  readonly custom_id: string;
  /** What was answered. */
  readonly response: {
    readonly status_code: number;
    readonly request_id: string;
    readonly body: unknown;
  };
  /** Why the request failed; null when it has not. */
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** Options of {@linkcode BatchOutput.open}. */
export interface BatchOutputOptions {
  /** Goes on with a file that holds answers; without it such a file is refused. */
  readonly resume: boolean;
  /** Names of the batch's requests. */
  readonly requests: ReadonlySet<string>;
}

/** A file that answers are appended to, one line each. */
export class BatchOutput implements Disposable {
  /** Names of the requests that the file held answers for when it was opened. */
  readonly done: ReadonlySet<string>;
  readonly #file: Deno.FsFile;
  readonly #open: DisposableStack;

  private constructor(file: Deno.FsFile, done: ReadonlySet<string>, open: DisposableStack) {
    this.#file = file;
    this.done = done;
    this.#open = open;
  }

  /**
   * Opens a file for one process alone. With `resume` it keeps the answers that are no errors: a last line that
   * was torn when a process died is cut off, and failed requests are taken out, to be run again. Throws Error
   * when it is no file, holds answers and must not, belongs to another batch, or is being written by somebody
   * else.
   */
  static async open(path: string, options: BatchOutputOptions): Promise<BatchOutput> {
    using files = new DisposableStack();
    const file = files.use(await openLocked(path));
    const { size, isFile } = await file.stat();
    if (!isFile) {
      throw new Error(`Cannot write to ${path} as it is no file: what is there must be read again`);
    }
    if (size > 0 && !options.resume) {
      throw new Error(`Cannot write to ${path} as it is not empty: --resume goes on with it`);
    }
    const { done, kept, failed } = await readAnswers(path, options.requests);
    if (failed === 0) {
      if (kept < size) await file.truncate(kept);
      return new BatchOutput(file, done, files.move());
    }
    // The whole file or the old one, whenever the process dies. The old one stays locked for those who have it open.
    const partial = `${path}.resumed`;
    const rewritten = files.use(await openLocked(partial));
    await rewritten.truncate(0);
    for await (const { id, text } of answersOf(path, options.requests)) {
      if (id !== null) await writeAll(rewritten, `${text}\n`);
    }
    await rewritten.syncData();
    await Deno.rename(partial, path);
    return new BatchOutput(rewritten, done, files.move());
  }

  /** Appends an answer; it is in the file when this resolves, whatever happens to the process. */
  async append(line: BatchOutputLine): Promise<void> {
    await writeAll(this.#file, `${JSON.stringify(line)}\n`);
  }

  /** Resolves when what was appended is on the disk. */
  async sync(): Promise<void> {
    await this.#file.syncData();
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#open[Symbol.dispose]();
  }
}

async function openLocked(path: string): Promise<Deno.FsFile> {
  const file = await Deno.open(path, { read: true, append: true, create: true });
  if (await file.tryLock(true)) return file;
  file.close();
  throw new Error(`Cannot write to ${path} as another process is writing to it`);
}

interface Answers {
  readonly done: ReadonlySet<string>;
  /** Bytes of whole lines. */
  readonly kept: number;
  /** Lines of requests that have failed. */
  readonly failed: number;
}

async function readAnswers(path: string, requests: ReadonlySet<string>): Promise<Answers> {
  const done = new Set<string>();
  let [kept, failed] = [0, 0];
  for await (const { id, end, number } of answersOf(path, requests)) {
    kept = end;
    if (id === null) failed++;
    else if (done.has(id)) {
      throw new Error(`Cannot resume as line ${number} of ${path} answers ${quote(id)} again`);
    } else done.add(id);
  }
  return { done, kept, failed };
}

/** The whole lines of a file with the names of the requests that they answer: null for those that failed. */
async function* answersOf(
  path: string,
  requests: ReadonlySet<string>,
): AsyncGenerator<{ id: string | null; text: string; end: number; number: number }> {
  for await (const { number, text, end, ended } of readLines(path)) {
    if (!ended) return;
    const line = parse(text);
    if (line === null) {
      throw new Error(`Cannot resume as line ${number} of ${path} is no answer of a batch`);
    }
    if (!requests.has(line.custom_id)) {
      throw new Error(
        `Cannot resume as line ${number} of ${path} answers what the input does not ask: ` +
          quote(line.custom_id),
      );
    }
    yield { id: line.error === null ? line.custom_id : null, text: text!, end, number };
  }
}

function parse(
  text: string | null,
): { readonly custom_id: string; readonly error: unknown } | null {
  try {
    const value = JSON.parse(text ?? "");
    return typeof value?.custom_id === "string" && "error" in value ? value : null;
  } catch {
    return null;
  }
}

function quote(id: string): string {
  return JSON.stringify(id.slice(0, 200));
}

async function writeAll(file: Deno.FsFile, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}
