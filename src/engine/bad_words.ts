/**
 * From bad words to runs of tokens.
 * @module
 */
import type { TextProcessor } from "../text/text_processor.ts";

/**
 * Tokens of each bad word, as vLLM makes them: the word as it stands at the start of a text, and once more with
 * a space before it where that is another first token and as many tokens. Rejects with a TextError.
 */
export async function badWordTokens(
  words: readonly string[],
  text: Pick<TextProcessor, "encode">,
): Promise<readonly (readonly number[])[]> {
  const encode = (word: string) => text.encode(word, { addSpecialTokens: false });
  const runs = await Promise.all(words.map(async (word) => {
    const bare = word.trimStart();
    const [alone, spaced] = await Promise.all([encode(bare), encode(` ${bare}`)]);
    const differs = spaced.length === alone.length && spaced[0] !== alone[0];
    return differs ? [alone, spaced] : [alone];
  }));
  return runs.flat().filter((run) => run.length > 0);
}
