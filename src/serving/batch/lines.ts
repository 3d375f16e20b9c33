/**
 * Lines of a file, with where they end.
 * @module
 */

/** A line. */
export interface FileLine {
  /** Its number, from 1. */
  readonly number: number;
  /** Its text, without the line break; null when it is no UTF-8. */
  readonly text: string | null;
  /** Bytes of the file up to its end, the line break included. */
  readonly end: number;
  /** False for a last line without line break. */
  readonly ended: boolean;
}

/** A line that is longer is no line of a batch. */
const MAX_LINE_BYTES = 256 * 2 ** 20;

const CHUNK_BYTES = 2 ** 16;
const LINE_FEED = 10;

/** The lines of a file; only one is held at a time. Throws Error for a line of more than 256 MiB. */
export async function* readLines(path: string): AsyncGenerator<FileLine, void, void> {
  using file = await Deno.open(path);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const chunk = new Uint8Array(CHUNK_BYTES);
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let [number, length, end] = [0, 0, 0];
  const line = (ended: boolean): FileLine => {
    end += length;
    const bytes = joined(parts, length);
    parts = [];
    length = 0;
    return {
      number: ++number,
      text: decoded(decoder, ended ? bytes.subarray(0, -1) : bytes),
      end,
      ended,
    };
  };
  for (let count = await file.read(chunk); count !== null; count = await file.read(chunk)) {
    for (let start = 0; start < count;) {
      const feed = chunk.subarray(0, count).indexOf(LINE_FEED, start);
      const stop = feed < 0 ? count : feed + 1;
      parts.push(chunk.slice(start, stop));
      length += stop - start;
      start = stop;
      if (length > MAX_LINE_BYTES) {
        throw new Error(`Cannot read line ${number + 1} of ${path} as it is longer than 256 MiB`);
      }
      if (feed >= 0) yield line(true);
    }
  }
  if (length > 0) yield line(false);
}

function joined(parts: readonly Uint8Array<ArrayBuffer>[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function decoded(decoder: TextDecoder, bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}
