/**
 * Kinds of command-line flags: how a text becomes a value, and how help describes it.
 * @module
 */

/** One flag: how its text is read, what it is without one, and what help says. */
export interface Flag<T> {
  /** Stands for the value in help, such as `N`; empty for a switch, which takes no value. */
  readonly placeholder: string;
  /** One line for `--help`. */
  readonly help: string;
  /** Value when neither flag nor environment gives one. */
  readonly fallback: T;
  /** What help shows as the default; empty for none. */
  readonly shownDefault: string;
  /** One letter that may stand for the name, after one dash; empty for none. */
  readonly short: string;
  /** May be given several times, in an order that matters; without `join` it has no environment variable then. */
  readonly repeatable: boolean;
  /** Reads the text; throws RangeError whose message continues `Cannot read --name as `. */
  readonly parse: (text: string) => T;
  /** What several make together; the last one counts without. One from the environment is as good as given once. */
  join?(values: readonly T[]): T;
}

interface Described<T> {
  readonly help: string;
  readonly placeholder?: string;
  /** Shown as the default when the real one is only known later. */
  readonly shownDefault?: string;
  readonly short?: string;
  readonly repeatable?: boolean;
  readonly fallback: T;
}

function flag<T>(options: Described<T>, parse: (text: string) => T): Flag<T> {
  const { fallback } = options;
  return {
    placeholder: options.placeholder ?? "",
    help: options.help,
    fallback,
    shownDefault: options.shownDefault ??
      (fallback === undefined || fallback === false ? "" : String(fallback)),
    short: options.short ?? "",
    repeatable: options.repeatable ?? false,
    parse,
  };
}

type Optional<Options, T> = Options extends { fallback: T } ? T : T | undefined;

interface TextOptions {
  readonly help: string;
  readonly placeholder?: string;
  readonly shownDefault?: string;
  readonly short?: string;
  readonly repeatable?: boolean;
  readonly fallback?: string;
}

/** A flag that takes any non-empty text. */
export function text<const O extends TextOptions>(options: O): Flag<Optional<O, string>> {
  return flag<Optional<O, string>>(
    {
      placeholder: "TEXT",
      ...options,
      fallback: options.fallback as Optional<O, string>,
    },
    (given) => given as Optional<O, string>,
  );
}

/** A flag that takes any non-empty text and may be repeated: all of them, in order. */
export function texts(
  options: Pick<TextOptions, "help" | "placeholder" | "shownDefault">,
): Flag<readonly string[] | undefined> {
  const { parse, ...one } = flag<readonly string[] | undefined>(
    { placeholder: "TEXT", ...options, repeatable: true, fallback: undefined },
    (given) => [given],
  );
  return { ...one, parse, join: (values) => values.flatMap((value) => value ?? []) };
}

interface RangeOptions {
  readonly help: string;
  readonly min: number;
  readonly max: number;
  readonly placeholder?: string;
  readonly shownDefault?: string;
  readonly fallback?: number;
}

/** A flag that takes a whole number from `min` to `max`. */
export function integer<const O extends RangeOptions>(options: O): Flag<Optional<O, number>> {
  const { min, max } = options;
  return flag<Optional<O, number>>(
    { placeholder: "N", ...options, fallback: options.fallback as Optional<O, number> },
    (given) => {
      if (!/^[+-]?\d+$/.test(given)) throw new RangeError("it is not a whole number");
      return inRange(Number(given), min, max) as Optional<O, number>;
    },
  );
}

/** A flag that takes whole numbers from `min` to `max` with commas between them. */
export function integers(
  options: Omit<RangeOptions, "fallback">,
): Flag<readonly number[] | undefined> {
  const one = integer(options);
  return flag<readonly number[] | undefined>(
    { placeholder: "N,N", ...options, fallback: undefined },
    (given) => given.split(",").map((part) => one.parse(part.trim())!),
  );
}

/** A flag that takes a number from `min` to `max`. */
export function number<const O extends RangeOptions>(options: O): Flag<Optional<O, number>> {
  const { min, max } = options;
  return flag<Optional<O, number>>(
    { placeholder: "X", ...options, fallback: options.fallback as Optional<O, number> },
    (given) => {
      if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(given)) {
        throw new RangeError("it is not a number");
      }
      return inRange(Number(given), min, max) as Optional<O, number>;
    },
  );
}

function inRange(value: number, min: number, max: number): number {
  if (value < min || value > max) throw new RangeError(`it must lie between ${min} and ${max}`);
  return value;
}

/** A flag that takes an unsigned 64-bit number. */
export function unsigned64(
  options: { readonly help: string; readonly shownDefault?: string },
): Flag<bigint | undefined> {
  return flag<bigint | undefined>(
    { placeholder: "N", ...options, fallback: undefined },
    (given) => {
      if (!/^\d+$/.test(given)) throw new RangeError("it is not a whole number from 0");
      const value = BigInt(given);
      if (value >= 1n << 64n) throw new RangeError("it must be below 2^64");
      return value;
    },
  );
}

interface ChoiceOptions<Words> {
  readonly help: string;
  readonly values: Words;
  readonly shownDefault?: string;
  readonly fallback?: Words[keyof Words];
}

/** A flag that takes one of a few words; `values` maps each accepted spelling to its meaning. */
export function choice<
  const Words extends Readonly<Record<string, string>>,
  const O extends ChoiceOptions<Words>,
>(options: O & { readonly values: Words }): Flag<Optional<O, Words[keyof Words]>> {
  type Value = Optional<O, Words[keyof Words]>;
  const { values, ...described } = options;
  const placeholder = [...new Set(Object.values(values))].join("|");
  const fallback = options.fallback as Value;
  return flag<Value>({ ...described, fallback, placeholder }, (given) => {
    if (!Object.hasOwn(values, given)) {
      throw new RangeError(`it must be one of ${Object.keys(values).join(", ")}`);
    }
    return values[given as keyof Words] as Value;
  });
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** A flag that takes a number of bytes: `4GiB`, `512MB`, `1.5gib` or plain bytes. */
export function size(
  options: { readonly help: string; readonly shownDefault?: string },
): Flag<number | undefined> {
  return flag<number | undefined>(
    { placeholder: "SIZE", ...options, fallback: undefined },
    parseSize,
  );
}

/** Bytes in a text such as `4GiB`; throws RangeError when it is not a size. */
export function parseSize(given: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(given.trim());
  const unit = match ? UNITS[match[2].toLowerCase()] : undefined;
  if (!match || unit === undefined) {
    throw new RangeError("it is not a size such as 4GiB, 512MB or a number of bytes");
  }
  const bytes = Math.floor(Number(match[1]) * unit);
  if (bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new RangeError("it must be at least 1 byte and below 8 PiB");
  }
  return bytes;
}

/**
 * A flag that is on when it is named; its environment variable takes true, false, 1 or 0. Where it is on by default
 * `--no-NAME` turns it off.
 */
export function onOff(
  options: { readonly help: string; readonly fallback?: boolean },
): Flag<boolean> {
  const { help, fallback = false } = options;
  return flag<boolean>({ help, fallback, shownDefault: fallback ? "on" : "" }, (given) => {
    if (given === "1" || given === "true") return true;
    if (given === "0" || given === "false") return false;
    throw new RangeError("it must be true, false, 1 or 0");
  });
}
