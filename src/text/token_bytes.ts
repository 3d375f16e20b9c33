/**
 * The bytes of single tokens, which may be less than a character.
 * @module
 */

/** Text and bytes of one token, as the `logprobs` of the API report them. */
export interface TokenText {
  /** How the vocabulary spells it: `Ġhello`; empty for an id without a token. */
  readonly token: string;
  /** The text; bytes that are no whole character show as U+FFFD. */
  readonly text: string;
  /** The exact bytes, which joined over tokens give the text in UTF-8. */
  readonly bytes: number[];
}

/** Bytes of a byte-level token (GPT-2's alphabet of 256 printable characters), or null when it is none. */
export function byteLevelBytes(token: string): number[] | null {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return null;
    bytes.push(byte);
  }
  return bytes;
}

/** The byte that a SentencePiece fallback token such as `<0xE2>` stands for, or null. */
export function fallbackByte(token: string): number | null {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match === null ? null : Number.parseInt(match[1], 16);
}

/** Printable Latin-1 characters stand for themselves, the other bytes for U+0100 and up, in order. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    map.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return map;
})();
