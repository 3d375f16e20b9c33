/**
 * Finds stop strings in text that arrives piece by piece.
 * @module
 */
import { TextError } from "./text_error.ts";

/** What a {@linkcode StopMatcher} lets through. */
export interface StopMatch {
  /** Text that is certain to come before any stop string. */
  readonly text: string;
  /** The stop string that was found, or null. */
  readonly stop: string | null;
}

/**
 * Passes text on until a stop string is complete. The match that ends first wins, and among those
 * the longest: so the decision doesn't depend on how the text is cut into pieces, and never waits.
 * Text that may begin a stop string is held back. One Knuth-Morris-Pratt automaton per stop string:
 * the work per character is constant.
 */
export class StopMatcher {
  readonly #automata: readonly Automaton[];
  readonly #includeStop: boolean;
  #held = "";

  /** Looks for `stops` (none of them empty); `includeStop` keeps the one found in the text. */
  constructor(stops: readonly string[], options: { readonly includeStop?: boolean } = {}) {
    this.#automata = stops.map((stop) => new Automaton(stop));
    this.#includeStop = options.includeStop ?? false;
  }

  /**
   * Takes the next piece; a stop string that ends in it is no match unless it `mayStop`. Give no more after a
   * match.
   */
  push(piece: string, { mayStop = true }: { readonly mayStop?: boolean } = {}): StopMatch {
    if (this.#automata.length === 0) return { text: piece, stop: null };
    const pending = this.#held + piece;
    for (let index = this.#held.length; index < pending.length; index++) {
      const code = pending.charCodeAt(index);
      let found: string | null = null;
      for (const automaton of this.#automata) {
        if (automaton.step(code) && automaton.pattern.length > (found?.length ?? 0)) {
          found = automaton.pattern;
        }
      }
      if (found !== null && mayStop) {
        const end = index + 1 - (this.#includeStop ? 0 : found.length);
        this.#held = "";
        return { text: pending.slice(0, end), stop: found };
      }
    }
    let keep = 0;
    for (const automaton of this.#automata) keep = Math.max(keep, automaton.matched);
    this.#held = pending.slice(pending.length - keep);
    return { text: pending.slice(0, pending.length - keep), stop: null };
  }

  /** Returns what is held back: no more text follows, so it is no stop string. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

/**
 * Refuses stop strings that cannot be searched for.
 *
 * @throws {TextError} when one is empty or not valid Unicode.
 */
export function checkStopStrings(stop: readonly string[]): void {
  for (const text of stop) {
    if (text === "") throw new TextError("Cannot stop at an empty text", "input");
    if (!text.isWellFormed()) {
      throw new TextError("Cannot stop at a text that is not valid Unicode", "input");
    }
  }
}

class Automaton {
  readonly pattern: string;
  /** `#border[n]`: length of the longest proper prefix of the first n + 1 units that also ends them. */
  readonly #border: Int32Array;
  /** Units of the pattern that the text so far ends with. */
  matched = 0;

  constructor(pattern: string) {
    this.pattern = pattern;
    this.#border = new Int32Array(pattern.length);
    for (let index = 1; index < pattern.length; index++) {
      this.step(pattern.charCodeAt(index));
      this.#border[index] = this.matched;
    }
    this.matched = 0;
  }

  /** Advances by one UTF-16 unit; true when the pattern is complete. */
  step(code: number): boolean {
    const { pattern } = this;
    let matched = this.matched;
    while (
      matched > 0 && (matched === pattern.length || pattern.charCodeAt(matched) !== code)
    ) {
      matched = this.#border[matched - 1];
    }
    if (pattern.charCodeAt(matched) === code) matched++;
    this.matched = matched;
    return matched === pattern.length;
  }
}
