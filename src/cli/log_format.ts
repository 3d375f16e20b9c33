/**
 * Logs in the format that a flag asks for.
 * @module
 */
import type { CliHost } from "./command.ts";
import { createLogger } from "./log.ts";

/**
 * The outside world as a command with these flags sees it. With `--log-format json` everything that goes to stderr is
 * an object on a line of its own, progress too.
 */
export function hostFor(values: Readonly<Record<string, unknown>>, host: CliHost): CliHost {
  if (values["log-format"] !== "json") return host;
  const log = createLogger((line) => host.writeError(`${line}\n`), "json");
  return {
    ...host,
    log,
    terminal: false,
    writeError: (text) => {
      const message = text.trim();
      if (message !== "") log.info(message);
    },
  };
}
