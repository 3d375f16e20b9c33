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

/** Resolves with the name of the first stop signal; a second one ends the process at once. */
export function stopSignal(host: CliHost): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  let stopping = false;
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(signal, () => {
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
