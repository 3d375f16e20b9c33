/**
 * The command line: finds the command, reads its flags, runs it.
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };
import type { CliHost, Command } from "./command.ts";
import type { FlagTable } from "./flags.ts";
import { commandHelp, programHelp } from "./help.ts";
import { createLogger } from "./log.ts";
import { hostFor } from "./log_format.ts";
import { nearestWord, parseFlags, UsageError } from "./parse_flags.ts";

const SUCCESS = 0;
const FAILURE = 1;
const WRONG_USAGE = 2;

/** A command whose module is loaded when it is needed: starting one should not load the others. */
interface CommandEntry {
  readonly name: string;
  readonly summary: () => Promise<string>;
  readonly invoke: (args: readonly string[], host: CliHost) => Promise<number>;
}

const COMMANDS: readonly CommandEntry[] = [
  entry("serve", async () => (await import("./serve.ts")).serveCommand),
  entry("route", async () => (await import("./route.ts")).routeCommand),
  entry("update", async () => (await import("./update.ts")).updateCommand),
  entry("run-batch", async () => (await import("./run_batch.ts")).runBatchCommand),
  entry("generate", async () => (await import("./generate.ts")).generateCommand),
  entry("bench throughput", async () => {
    return (await import("./bench_throughput.ts")).benchThroughputCommand;
  }),
  entry("inspect", async () => (await import("./inspect.ts")).inspectCommand),
  entry("quantize", async () => (await import("./quantize.ts")).quantizeCommand),
  entry("init-model", async () => (await import("./init_model.ts")).initModelCommand),
];

function entry<Table extends FlagTable>(
  name: string,
  load: () => Promise<Command<Table>>,
): CommandEntry {
  return {
    name,
    summary: async () => (await load()).summary,
    invoke: async (args, host) => await invoke(await load(), args, host),
  };
}

/**
 * Runs a command line and resolves with the exit status: 0 for success, 1 for a failure that is
 * logged in one line, 2 for a wrong command line.
 */
export async function main(
  args: readonly string[],
  host: CliHost = processHost(),
): Promise<number> {
  try {
    return await dispatch(args, host);
  } catch (error) {
    return failed(error, host);
  }
}

function failed(error: unknown, host: CliHost): number {
  host.log.error(describeError(error));
  return error instanceof UsageError ? WRONG_USAGE : FAILURE;
}

async function dispatch(args: readonly string[], host: CliHost): Promise<number> {
  const [first] = args;
  if (first === "help" && args.length > 1) {
    return await dispatch([...args.slice(1), "--help"], host);
  }
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    const commands = COMMANDS.map(async ({ name, summary }) => ({
      name,
      summary: await summary(),
    }));
    host.print(programHelp(await Promise.all(commands)));
    return first === undefined ? WRONG_USAGE : SUCCESS;
  }
  if (first === "--version") {
    host.print(`weft ${manifest.version}`);
    return SUCCESS;
  }
  const command = COMMANDS.find(({ name }) =>
    name.split(" ").every((word, index) => args[index] === word)
  );
  if (!command) {
    const group = COMMANDS.find(({ name }) => name.startsWith(`${first} `));
    if (group && args[1] === "--help") return await group.invoke(["--help"], host);
    throw new UsageError(unknownCommand(args));
  }
  return await command.invoke(args.slice(command.name.split(" ").length), host);
}

async function invoke<Table extends FlagTable>(
  command: Command<Table>,
  args: readonly string[],
  host: CliHost,
): Promise<number> {
  const { values, given, help } = parseFlags(args, { table: command.flags, env: host.env });
  if (help) {
    host.print(commandHelp(command));
    return SUCCESS;
  }
  const own = hostFor(values, host);
  try {
    return await command.run({ values, given, host: own });
  } catch (error) {
    return failed(error, own);
  }
}

function unknownCommand(args: readonly string[]): string {
  const names = COMMANDS.map(({ name }) => name);
  const typed = args.filter((word) => !word.startsWith("-")).slice(0, 2).join(" ");
  const nearest = names.find((name) => name.startsWith(`${args[0]} `)) ??
    nearestWord(typed, names) ?? nearestWord(args[0], names);
  return `Unknown command ${args[0]}: ${
    nearest ? `did you mean ${nearest}` : `commands are ${names.join(", ")}`
  }`;
}

/** The message, with that of the cause where it does not say it already. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const message = error.message || error.name;
  const { cause } = error;
  if (!(cause instanceof Error) || message.includes(cause.message)) return message;
  return `${message} (${describeError(cause)})`;
}

function processHost(): CliHost {
  const encoder = new TextEncoder();
  const writeError = (text: string) => writeAll(Deno.stderr, encoder.encode(text));
  return {
    print: (line) => writeAll(Deno.stdout, encoder.encode(`${line}\n`)),
    writeError,
    terminal: Deno.stderr.isTerminal(),
    log: createLogger((line) => writeError(`${line}\n`)),
    env: (name) => Deno.env.get(name),
  };
}

function writeAll(stream: { writeSync(data: Uint8Array): number }, data: Uint8Array): void {
  for (let written = 0; written < data.length;) written += stream.writeSync(data.subarray(written));
}
