/**
 * Texts as numbers.
 * @module
 */
import { prefixHashes } from "./prefix_hash.ts";

/** A number between 0 and 1, neither of them, that looks drawn at random for each text that is not empty. */
export function uniform(text: string): number {
  const [hash] = prefixHashes(text, text.length);
  // The last units of a text reach few bits of an FNV sum: mixed as in MurmurHash3's end (Appleby).
  let bits = Math.imul((hash % 2 ** 32) ^ (hash / 2 ** 32), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32 + 2 ** -33;
}
