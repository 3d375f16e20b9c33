/**
 * Reads a command line against a table of flags: flag, then environment, then default.
 * @module
 */
import { parseArgs, type ParseArgsConfig } from "node:util";
import type { Flag } from "./flag_types.ts";
import type { FlagTable } from "./flags.ts";

/** The command line is wrong; the message says where. */
export class UsageError extends Error {
  /** Says what is wrong with the command line. */
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** Values of a table by flag name. */
export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Flag<infer T> ? T : never;
};

/** A flag as it stood on the command line. */
export interface GivenFlag {
  /** Name without the dashes. */
  readonly name: string;
  /** Its value as it was read. */
  readonly value: unknown;
}

/** A command line that was read. */
export interface ParsedFlags<Table extends FlagTable> {
  /** One value for each flag; of a repeated one what they make together, or the last. */
  readonly values: FlagValues<Table>;
  /** Flags in the order in which they were given. */
  readonly given: readonly GivenFlag[];
  /** `--help` was among them. */
  readonly help: boolean;
}

/** Name of the environment variable behind a flag: `WEFT_MAX_MODEL_LEN` for `max-model-len`. */
export function environmentName(flag: string): string {
  return `WEFT_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Reads `args` against `table`. Throws {@linkcode UsageError} for an unknown flag, a missing or bad
 * value, an argument that is no flag, and a flag that is repeated though it may not be.
 */
export function parseFlags<Table extends FlagTable>(
  args: readonly string[],
  options: { readonly table: Table; readonly env: (name: string) => string | undefined },
): ParsedFlags<Table> {
  const { table, env } = options;
  const given: GivenFlag[] = [];
  let help = false;
  for (const token of tokenize(args, table)) {
    if (token.kind !== "option") {
      throw new UsageError(
        `Unexpected argument: ${token.kind === "positional" ? token.value : "--"}`,
      );
    }
    if (token.name === "help" || token.rawName === "-h") {
      help = true;
      continue;
    }
    const off = switchedOff(token.name, table);
    const name = off ?? token.name;
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!flag || ![`--${token.name}`, `-${flag.short}`].includes(token.rawName)) {
      throw new UsageError(`Unknown flag ${token.rawName}${suggestion(token.name, table)}`);
    }
    if (!flag.repeatable && given.some((earlier) => earlier.name === name)) {
      throw new UsageError(`Cannot give --${name} twice`);
    }
    if (off !== null && token.value !== undefined) {
      throw new UsageError(`Cannot read --${token.name} as it takes no value: ${token.value}`);
    }
    given.push({ name, value: off === null ? readToken(token, flag) : false });
  }
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(table)) {
    const all = given.filter((entry) => entry.name === name).map(({ value }) => value);
    values[name] = all.length === 0
      ? fromEnvironment(name, flag, env)
      : flag.join?.(all) ?? all.at(-1);
  }
  return { values: values as FlagValues<Table>, given, help };
}

function tokenize(args: readonly string[], table: FlagTable) {
  const options: NonNullable<ParseArgsConfig["options"]> = { help: { type: "boolean" } };
  for (const [name, { placeholder, short }] of Object.entries(table)) {
    const type = placeholder === "" ? "boolean" : "string";
    options[name] = short === "" ? { type } : { type, short };
    if (switchedOff(`no-${name}`, table)) options[`no-${name}`] = { type };
  }
  return parseArgs({ args: [...args], options, strict: false, tokens: true }).tokens;
}

/** The switch that `--no-SWITCH` turns off; null for other names. */
function switchedOff(name: string, table: FlagTable): string | null {
  const positive = name.replace(/^no-/, "");
  const isSwitch = Object.hasOwn(table, positive) && table[positive].fallback === true;
  return isSwitch && positive !== name ? positive : null;
}

function readToken(
  token: { readonly name: string; readonly value?: string; readonly inlineValue?: boolean },
  flag: Flag<unknown>,
): unknown {
  const { name, value, inlineValue } = token;
  if (flag.placeholder === "") {
    return value === undefined ? true : readValue(`--${name}`, value, flag);
  }
  // `--prompt --json` forgot the text; a text that begins with two dashes needs `--prompt=--text`.
  if (value === undefined || (!inlineValue && value.startsWith("--"))) {
    throw new UsageError(`Cannot read --${name} as its value is missing: ${flag.placeholder}`);
  }
  return readValue(`--${name}`, value, flag);
}

function fromEnvironment(
  name: string,
  flag: Flag<unknown>,
  env: (name: string) => string | undefined,
): unknown {
  const text = flag.repeatable && !flag.join ? undefined : env(environmentName(name));
  return text === undefined || text === ""
    ? flag.fallback
    : readValue(environmentName(name), text, flag);
}

function readValue(source: string, text: string, flag: Flag<unknown>): unknown {
  try {
    if (text === "") throw new RangeError("it is empty");
    return flag.parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`Cannot read ${source} as ${error.message}: current value is ${text}`);
  }
}

function suggestion(name: string, table: FlagTable): string {
  const nearest = nearestWord(name, [...Object.keys(table), "help"]);
  return nearest === null ? "" : `: did you mean --${nearest}`;
}

/** The word nearest to `word` by edits, or null when none is near (at most a third of its letters). */
export function nearestWord(word: string, words: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of words) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substituted = previous[column - 1] + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(substituted, previous[column] + 1, current[column - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}
