/**
 * A warning for servers whose admin routes are open to a network.
 * @module
 */
import type { Logger } from "./log.ts";

/** The flags that decide who may use the admin routes. */
export interface AdminFlagValues {
  /** Address that is bound. */
  readonly host: string;
  /** Key of every request. */
  readonly "api-key": string | undefined;
  /** Key of requests below `/admin`. */
  readonly "admin-api-key": string | undefined;
}

/** Warns when others than users of this machine may use the admin routes without a key. */
export function warnOfOpenAdmin(values: AdminFlagValues, log: Logger): void {
  if ((values["admin-api-key"] ?? values["api-key"]) !== undefined) return;
  if (/^(127\..*|::1|localhost)$/.test(values.host)) return;
  log.warn(`/admin is open to whoever reaches ${values.host}: --admin-api-key KEY closes it`);
}
