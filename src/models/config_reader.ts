/**
 * Typed access to the keys of a config.json, keeping count of which were used.
 * @module
 */
import { ModelLoadError } from "./errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json_file.ts";

/** Keys that a family knows besides those it reads. */
export interface KnownKeys {
  /** Keys that have no effect on inference, whatever they say. */
  readonly inert: readonly string[];
  /** Keys of features that are not implemented, with the values at which they have no effect. */
  readonly inertAt: Readonly<Record<string, readonly JsonValue[]>>;
}

/** Range and fallback of a number. */
export interface NumberRule {
  /** Least value. */
  readonly min: number;
  /** Greatest value. */
  readonly max: number;
  /** Taken when the key is absent or null; without it the key is required. */
  readonly fallback?: number;
}

/**
 * Reads keys of one JSON object and throws ModelLoadError, naming file and key, for each that is
 * missing or has the wrong type or range. A null counts as absent.
 */
export class ConfigReader {
  /** The file, for messages. */
  readonly source: string;
  /** Path of the object inside the file, such as `rope_scaling.`; empty for the whole. */
  readonly path: string;
  readonly #json: JsonObject;
  readonly #used = new Set<string>();

  /** Reads `json`, which was found at `path` in the file `source`. */
  constructor(json: JsonObject, options: { source: string; path?: string }) {
    this.#json = json;
    this.source = options.source;
    this.path = options.path ?? "";
  }

  /** The value of `key`, null when absent; counts as used. */
  value(key: string): JsonValue {
    this.#used.add(key);
    return Object.hasOwn(this.#json, key) ? this.#json[key] : null;
  }

  /** Whether `key` is there, be it null. */
  has(key: string): boolean {
    return Object.hasOwn(this.#json, key);
  }

  /** All keys. */
  keys(): string[] {
    return Object.keys(this.#json);
  }

  /** An integer within the rule's range. */
  integer(key: string, rule: NumberRule): number {
    const value = this.#number(key, rule);
    if (!Number.isSafeInteger(value)) this.refuse(key, "is not an integer");
    return value;
  }

  /** A finite number within the rule's range. */
  number(key: string, rule: NumberRule): number {
    return this.#number(key, rule);
  }

  /** A boolean. */
  boolean(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value !== "boolean") this.refuse(key, "is not a boolean");
    return value;
  }

  /** A string, null when absent. */
  string(key: string): string | null {
    const value = this.value(key);
    if (value !== null && typeof value !== "string") this.refuse(key, "is not a string");
    return value;
  }

  /** One of `choices`, mapped to what it means; `fallback` is a choice. */
  choice<T>(key: string, choices: Readonly<Record<string, T>>, fallback: string): T {
    const name = this.string(key) ?? fallback;
    if (!Object.hasOwn(choices, name)) {
      this.refuse(key, `is implemented only as ${Object.keys(choices).join(", ")}`);
    }
    return choices[name];
  }

  /** A list of strings, null when absent. */
  strings(key: string): string[] | null {
    const value = this.value(key);
    if (value === null) return null;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      this.refuse(key, "is not a list of strings");
    }
    return value as string[];
  }

  /** A token id, or a list of them; none when absent. */
  tokenIds(key: string): number[] {
    const value = this.value(key);
    const ids = value === null ? [] : Array.isArray(value) ? value : [value];
    for (const id of ids) {
      if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > 0x7fffffff) {
        this.refuse(key, "is not a token id or a list of them");
      }
    }
    return ids as number[];
  }

  /** A nested object to read in turn, null when absent. */
  object(key: string): ConfigReader | null {
    const value = this.value(key);
    if (value === null) return null;
    if (!isJsonObject(value)) this.refuse(key, "is not an object");
    return new ConfigReader(value, { source: this.source, path: `${this.path}${key}.` });
  }

  /** Refuses every key that was not used and that `known` does not explain; `owner` is named. */
  finish(known: KnownKeys, owner: string): void {
    for (const [key, value] of Object.entries(this.#json)) {
      if (this.#used.has(key) || known.inert.includes(key)) continue;
      const allowed = Object.hasOwn(known.inertAt, key) ? known.inertAt[key] : null;
      if (allowed === null) {
        this.refuse(key, `is not implemented for ${owner}`);
      }
      const text = JSON.stringify(value);
      if (!allowed.some((item) => JSON.stringify(item) === text)) {
        this.refuse(
          key,
          `is implemented for ${owner} only at ${
            allowed.map((item) => JSON.stringify(item)).join(" or ")
          }`,
        );
      }
    }
  }

  /** Throws ModelLoadError saying that `key` "is ..."; the current value is added. */
  refuse(key: string, reason: string): never {
    const value = Object.hasOwn(this.#json, key) ? JSON.stringify(this.#json[key]) : "absent";
    const shown = value.length > 200 ? `${value.slice(0, 200)}...` : value;
    throw new ModelLoadError(
      `Cannot load ${this.source} as the key "${this.path}${key}" ${reason}: current value is ${shown}`,
      { file: this.source },
    );
  }

  #number(key: string, rule: NumberRule): number {
    const value = this.value(key) ?? rule.fallback;
    if (value === undefined) this.refuse(key, "is required");
    if (typeof value !== "number" || !Number.isFinite(value)) this.refuse(key, "is not a number");
    if (value < rule.min || value > rule.max) {
      this.refuse(key, `must lie between ${rule.min} and ${rule.max}`);
    }
    return value;
  }
}
