/**
 * What a process prints, line by line.
 * @module
 */

/** Characters of a line that are kept; what a process prints must not fill the memory. */
const MAX_LINE = 16_384;

/** Calls `onLine` for each line of `stream` that is not empty; resolves at its end. A return ends a line too. */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  const emit = (line: string): void => {
    if (line !== "") onLine(line.slice(0, MAX_LINE));
  };
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n|\r/);
    rest = lines.pop()!.slice(0, MAX_LINE);
    lines.forEach(emit);
  }
  emit(rest);
}
