/**
 * The keys that clients of a server must bring, and what each may ask for.
 * @module
 */
import type { ApiKeys } from "../serving/authentication.ts";
import type { KeyLimitOptions } from "../serving/key_limits.ts";
import type { Logger } from "./log.ts";
import { UsageError } from "./parse_flags.ts";

/** The flags that say so. */
export interface KeyFlagValues {
  /** Address that is bound. */
  readonly host: string;
  /** Keys of every request. */
  readonly "api-key": readonly string[] | undefined;
  /** File with more of them. */
  readonly "api-key-file": string | undefined;
  /** Key of requests below `/admin`. */
  readonly "admin-api-key": string | undefined;
  /** Requests of a key at once. */
  readonly "key-concurrency": number | undefined;
  /** Requests of a key in a minute. */
  readonly "key-requests-per-minute": number | undefined;
}

/** Options of a server. */
export interface KeyOptions extends ApiKeys {
  /** Keys of every request. */
  readonly apiKey?: readonly string[];
  /** Limits of each key. */
  readonly keyLimits: KeyLimitOptions;
}

/**
 * Reads keys and limits, and warns when others than users of this machine may use the admin routes without a key of
 * their own. Throws UsageError when the file cannot be read or holds no key, a key cannot be one, or limits have no
 * key to hold to.
 */
export function readKeys(values: KeyFlagValues, log: Logger): KeyOptions {
  const file = values["api-key-file"];
  const keys = [...values["api-key"] ?? [], ...file === undefined ? [] : readKeyFile(file)];
  if (keys.some((key) => !/^[\x21-\x7e]+$/.test(key))) {
    throw new UsageError("Cannot use an API key as it is not printable ASCII without spaces");
  }
  const adminApiKey = values["admin-api-key"];
  warnOfOpenAdmin(values, { keys: keys.length, log });
  const keyLimits = {
    maxConcurrency: values["key-concurrency"],
    requestsPerMinute: values["key-requests-per-minute"],
  };
  if (keys.length > 0) return { apiKey: [...new Set(keys)], adminApiKey, keyLimits };
  if (Object.values(keyLimits).some((limit) => limit !== undefined)) {
    throw new UsageError("Cannot limit what keys may ask for as there is none: --api-key KEY");
  }
  return { adminApiKey, keyLimits };
}

function readKeyFile(file: string): string[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`Cannot read --api-key-file: ${reason}`);
  }
  const keys = text.split("\n").map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length > 0) return keys;
  throw new UsageError(`Cannot read --api-key-file as it holds no key: ${file}`);
}

function warnOfOpenAdmin(
  values: KeyFlagValues,
  { keys, log }: { readonly keys: number; readonly log: Logger },
): void {
  if (values["admin-api-key"] !== undefined || keys === 1) return;
  const closes = "--admin-api-key KEY closes it";
  if (keys > 1) return log.warn(`/admin is open to every one of the ${keys} API keys: ${closes}`);
  if (/^(127\..*|::1|localhost)$/.test(values.host)) return;
  log.warn(`/admin is open to whoever reaches ${values.host}: ${closes}`);
}
