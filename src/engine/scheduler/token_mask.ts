/**
 * Which tokens a sequence may draw next.
 * @module
 */

/**
 * Says before each draw which tokens are allowed: a list, or a grammar that follows what is drawn. It lives on
 * the scheduler's own thread.
 */
export interface TokenMask {
  /**
   * Token `id` is allowed where bit `id % 32` of word `id / 32` is set: an array that stays as it is, another one
   * after each change. Null while it is not known: the sequence draws nothing until it is, and whoever
   * finds it asks the scheduler for plans.
   */
  readonly words: Int32Array | null;
  /** Whether {@linkcode accept} changes it. */
  readonly followsTokens: boolean;
  /** Takes the token that was drawn. */
  accept(tokenId: number): void;
}

/** The same tokens at every draw. */
export class AllowedTokens implements TokenMask {
  /** See {@linkcode TokenMask.words}. */
  readonly words: Int32Array;
  /** See {@linkcode TokenMask.followsTokens}. */
  readonly followsTokens = false;

  /** Allows `tokenIds` out of a vocabulary of `vocabSize`; others are not there. */
  constructor(tokenIds: readonly number[], vocabSize: number) {
    this.words = new Int32Array(Math.ceil(vocabSize / 32));
    for (const id of tokenIds) this.words[id >> 5] |= 1 << (id & 31);
  }

  /** Changes nothing. */
  accept(): void {}
}
