/**
 * Command lines in tests.
 * @module
 */
import { createLogger } from "../src/cli/log.ts";
import { main } from "../src/cli/main.ts";

/** What a command line came to. */
export interface CliOutcome {
  /** Exit status. */
  readonly status: number;
  /** What it printed. */
  readonly out: string;
  /** What it logged, progress included. */
  readonly log: string;
}

/** Runs a command line on a host that only takes notes; `onLine` is told of each printed line as it comes. */
export async function runCli(
  args: readonly string[],
  onLine: (line: string) => void = () => {},
): Promise<CliOutcome> {
  let [out, log] = ["", ""];
  const status = await main([...args], {
    print(line) {
      out += `${line}\n`;
      onLine(line);
    },
    writeError: (text) => log += text,
    terminal: false,
    log: createLogger((line) => log += `${line}\n`),
    env: () => undefined,
  });
  return { status, out, log };
}
