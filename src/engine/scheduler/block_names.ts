/**
 * Names of KV blocks by all that their keys and values depend on.
 * @module
 */
import { Sha256 } from "./sha256.ts";

/**
 * 128 bits of a SHA-256, as eight UTF-16 code units: two blocks with one name hold the same keys and values. It
 * covers the block's tokens and, by the name of the block before it, all tokens before them and the root.
 */
export type BlockName = string;

/** Names blocks. Without its secret nobody can look for two texts of one name. */
export class BlockNamer {
  readonly #hash = new Sha256();
  readonly #secret: string;

  /** A namer whose names depend on `secret`. */
  constructor(secret: string) {
    this.#secret = secret;
  }

  /** What a chain of names begins with. Names of chains with different salts never meet. */
  root(salt: string): BlockName {
    this.#hash.begin();
    this.#hash.add(this.#secret.length);
    this.#addText(this.#secret);
    this.#addText(salt);
    return this.#take();
  }

  /** Name of the block of `tokens[start, end)` that follows the block `parent`, or the root. */
  block(
    parent: BlockName,
    tokens: Int32Array,
    { start, end }: { readonly start: number; readonly end: number },
  ): BlockName {
    this.#hash.begin();
    this.#addText(parent);
    for (let i = start; i < end; i++) this.#hash.add(tokens[i]);
    return this.#take();
  }

  #addText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#hash.add(text.charCodeAt(i));
  }

  #take(): BlockName {
    const words = this.#hash.end();
    return String.fromCharCode(
      words[0] >>> 16,
      words[0] & 0xffff,
      words[1] >>> 16,
      words[1] & 0xffff,
      words[2] >>> 16,
      words[2] & 0xffff,
      words[3] >>> 16,
      words[3] & 0xffff,
    );
  }
}
