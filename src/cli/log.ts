/**
 * The command line's log: one line an event, on stderr, so that stdout holds results only.
 * @module
 */

/** Takes one-line messages. */
export interface Logger {
  /** What was chosen or done. */
  info(message: string): void;
  /** What the user should look at. */
  warn(message: string): void;
  /** What failed. */
  error(message: string): void;
}

/** Makes a log that writes `HH:MM:SS LEVEL message` lines; line breaks inside become spaces. */
export function createLogger(write: (line: string) => void): Logger {
  const line = (level: string) => (message: string) =>
    write(
      `${new Date().toISOString().slice(11, 19)} ${level.padEnd(5)} ${
        message.replaceAll(/\s*[\r\n]+\s*/g, " ")
      }`,
    );
  return { info: line("INFO"), warn: line("WARN"), error: line("ERROR") };
}

/** Level and message of a line that such a log wrote; null for any other line. */
export function parseLogLine(
  line: string,
): { readonly level: keyof Logger; readonly message: string } | null {
  const [, level, message] = /^\d\d:\d\d:\d\d (INFO|WARN|ERROR) +(.*)$/.exec(line) ?? [];
  return level === undefined ? null : { level: level.toLowerCase() as keyof Logger, message };
}
