/**
 * The command line's log: one line an event, on stderr, so that stdout holds results only.
 * @module
 */

/** What a message is about, for programs; the message says it to people. */
export type LogFields = Readonly<Record<string, string | number>>;

/** Takes one-line messages. */
export interface Logger {
  /** What was chosen or done. */
  info(message: string, fields?: LogFields): void;
  /** What the user should look at. */
  warn(message: string, fields?: LogFields): void;
  /** What failed. */
  error(message: string, fields?: LogFields): void;
}

/** How lines are written. */
export type LogFormat = "text" | "json";

/**
 * Makes a log that writes `HH:MM:SS LEVEL message name=value` lines, line breaks inside as spaces; or, in format `json`,
 * objects with `time`, `level`, `message` and the fields.
 */
export function createLogger(write: (line: string) => void, format: LogFormat = "text"): Logger {
  const describe = format === "json" ? jsonLine : textLine;
  const line = (level: keyof Logger) => (message: string, fields: LogFields = {}) =>
    write(describe(level, message, fields));
  return { info: line("info"), warn: line("warn"), error: line("error") };
}

/** An event that a log wrote. */
export interface LoggedEvent {
  /** Its level. */
  readonly level: keyof Logger;
  /** What it says, in text with its fields. */
  readonly message: string;
  /** Its fields, where the log was written as JSON. */
  readonly fields: LogFields;
}

/** The event of a line that such a log wrote; null for any other line. */
export function parseLogLine(line: string): LoggedEvent | null {
  if (line.startsWith("{")) return parseJsonLine(line);
  const [, level, message] = /^\d\d:\d\d:\d\d (INFO|WARN|ERROR) +(.*)$/.exec(line) ?? [];
  if (level === undefined) return null;
  return { level: level.toLowerCase() as keyof Logger, message, fields: {} };
}

function textLine(level: keyof Logger, message: string, fields: LogFields): string {
  const time = new Date().toISOString().slice(11, 19);
  const more = Object.entries(fields).map(([name, value]) => ` ${name}=${value}`).join("");
  const text = `${message}${more}`.replaceAll(/\s*[\r\n]+\s*/g, " ");
  return `${time} ${level.toUpperCase().padEnd(5)} ${text}`;
}

function jsonLine(level: keyof Logger, message: string, fields: LogFields): string {
  return JSON.stringify({ time: new Date().toISOString(), level, message, ...fields });
}

function parseJsonLine(line: string): LoggedEvent | null {
  try {
    const { time, level, message, ...fields } = JSON.parse(line);
    const known = typeof time === "string" && typeof message === "string" &&
      ["info", "warn", "error"].includes(level);
    return known ? { level, message, fields } : null;
  } catch {
    return null;
  }
}
