/**
 * What a command is, and what it may touch of the outside world.
 * @module
 */
import type { FlagTable } from "./flags.ts";
import type { Logger } from "./log.ts";
import type { FlagValues, GivenFlag } from "./parse_flags.ts";

/** The outside world of a command, so that tests can stand in for it. */
export interface CliHost {
  /** Prints one line of results. */
  readonly print: (line: string) => void;
  /** Writes raw text to stderr (progress). */
  readonly writeError: (text: string) => void;
  /** Whether stderr is a terminal. */
  readonly terminal: boolean;
  /** Takes events. */
  readonly log: Logger;
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
}

/** What a command is called with. */
export interface Invocation<Table extends FlagTable> {
  /** One value for each flag of the table. */
  readonly values: FlagValues<Table>;
  /** Flags in the order in which they were given. */
  readonly given: readonly GivenFlag[];
  /** The outside world. */
  readonly host: CliHost;
}

/** One command of the command line. */
export interface Command<Table extends FlagTable> {
  /** Words that follow `weft`, such as `bench throughput`. */
  readonly name: string;
  /** One line for help. */
  readonly summary: string;
  /** A command line that works as it stands. */
  readonly example: string;
  /** Its flags. */
  readonly flags: Table;
  /** Does the work; returns the exit status. */
  readonly run: (invocation: Invocation<Table>) => Promise<number> | number;
}
