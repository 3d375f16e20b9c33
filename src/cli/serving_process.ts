/**
 * What commands that serve have in common: an address, and a stop that drains.
 * @module
 */
import type { CliHost } from "./command.ts";

/** Time that running requests have after a stop signal: below the 30 s that Kubernetes allows. */
export const DRAIN_MS = 25_000;

/** What `open` returns; when it throws, the error names the address. */
export async function bind<T>(
  address: { hostname: string; port: number },
  open: () => T | Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${address.hostname} port ${address.port}: ${reason}`);
  }
}

/**
 * Resolves with the name of the first stop signal; a second one ends the process at once. Ctrl-C, which a terminal
 * sends to every process of the foreground group, is left to others when `ignoreInterrupt` says so.
 */
export function stopSignal(
  host: CliHost,
  { ignoreInterrupt = false }: { readonly ignoreInterrupt?: boolean } = {},
): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  let stopping = false;
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(signal, () => {
      if (signal === "SIGINT" && ignoreInterrupt) return;
      if (stopping) {
        host.log.warn(`${signal} again: ending at once`);
        Deno.exit(status);
      }
      stopping = true;
      resolve(signal);
    });
  }
  return promise;
}

/** Ends this process when standard input ends, which a parent's pipe does when the parent has gone in any way. */
export async function exitWithStdin(): Promise<void> {
  const ignored = new Uint8Array(256);
  while (await Deno.stdin.read(ignored) !== null);
  Deno.exit(1);
}
