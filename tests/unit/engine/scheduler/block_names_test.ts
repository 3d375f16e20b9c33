import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { BlockNamer } from "../../../../src/engine/scheduler/block_names.ts";
import { Sha256 } from "../../../../src/engine/scheduler/sha256.ts";

function hex(words: Iterable<number>): string {
  return Array.from(words, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

Deno.test("Sha256 gives what node:crypto gives, for messages around the ends of its chunks", () => {
  const hash = new Sha256();
  for (const length of [0, 1, 12, 13, 14, 15, 16, 17, 29, 30, 31, 32, 100]) {
    const bytes = new Uint8Array(4 * length);
    const view = new DataView(bytes.buffer);
    hash.begin();
    for (let i = 0; i < length; i++) {
      const word = Math.imul(i + 1, 0x9e3779b1);
      view.setInt32(4 * i, word);
      hash.add(word);
    }
    assertEquals(hex(hash.end()), createHash("sha256").update(bytes).digest("hex"));
  }
});

Deno.test("BlockNamer names a block by secret, salt, the blocks before and its tokens, in 128 bits", () => {
  const tokens = Int32Array.from({ length: 48 }, (_, i) => 7 * i);
  const namesOf = (secret: string, salt: string, from = 0) => {
    const namer = new BlockNamer(secret);
    const first = namer.block(namer.root(salt), tokens, { start: from, end: from + 16 });
    return [first, namer.block(first, tokens, { start: 16, end: 32 })];
  };
  assertEquals(namesOf("secret", "salt"), namesOf("secret", "salt"));
  const all = [
    namesOf("secret", ""),
    namesOf("secret", "salt"),
    namesOf("secret", "tals"),
    namesOf("secre", "t"),
    namesOf("other", ""),
    // The second block holds the same tokens behind others.
    namesOf("secret", "", 32),
  ].flat();
  assertEquals(new Set(all).size, all.length);
  assert(all.every((name) => name.length === 8));
});
