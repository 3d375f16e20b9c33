/**
 * Hashes of how prompts begin.
 * @module
 */

/** Leading parts that are hashed at most: more tell replicas apart no better. */
const MAX_PARTS = 256;

const FNV_PRIME = 0x01000193;
const SECOND_PRIME = 0x85ebca6b;

/**
 * One hash for each leading `partSize`, `2 * partSize`, ... of the units of a prompt (token ids, or
 * UTF-16 units of a text), an incomplete last part left out; at most 256. Equal beginnings have equal
 * hashes, others almost never: 53 bits, two FNV-1a sums side by side (Fowler, Noll, Vo). They choose a
 * replica and prove nothing.
 *
 * @example
 * ```ts
 * import { prefixHashes } from "@weft/weft/server";
 * const [a, b] = ["You are helpful. Hi", "You are helpful. Bye"].map((text) => prefixHashes(text, 16));
 * console.log(a[0] === b[0]); // true
 * ```
 */
export function prefixHashes(prompt: string | ArrayLike<number>, partSize: number): number[] {
  const text = typeof prompt === "string";
  const parts = Math.min(MAX_PARTS, Math.floor(prompt.length / partSize));
  const hashes = new Array<number>(parts);
  let [low, high] = [0x811c9dc5, 0x9747b28c];
  for (let part = 0, i = 0; part < parts; part++) {
    for (const end = i + partSize; i < end; i++) {
      const unit = text ? prompt.charCodeAt(i) : prompt[i];
      low = Math.imul(low ^ unit, FNV_PRIME);
      high = Math.imul(high ^ (unit + i), SECOND_PRIME);
      high ^= high >>> 13;
    }
    hashes[part] = (high >>> 11) * 2 ** 32 + (low >>> 0);
  }
  return hashes;
}
