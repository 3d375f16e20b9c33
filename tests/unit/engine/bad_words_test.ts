import { assertEquals, assertRejects } from "@std/assert";
import { badWordTokens } from "../../../src/engine/bad_words.ts";
import { TextError } from "../../../src/text/text_error.ts";

/** Words of a vocabulary in which some begin with a space. */
const VOCABULARY = [" cat", "cat", " ", "c", "at", "dog", "nap"];

/** Takes the longest word that fits, from left to right. */
const text = {
  encode(given: string, options: { readonly addSpecialTokens?: boolean } = {}): Promise<number[]> {
    assertEquals(options.addSpecialTokens, false);
    const ids: number[] = [];
    for (let rest = given; rest !== "";) {
      const fitting = VOCABULARY.filter((word) => rest.startsWith(word));
      if (fitting.length === 0) {
        return Promise.reject(new TextError(`No word for ${rest}`, "input"));
      }
      const longest = fitting.reduce((a, b) => b.length > a.length ? b : a);
      ids.push(VOCABULARY.indexOf(longest));
      rest = rest.slice(longest.length);
    }
    return Promise.resolve(ids);
  },
};

Deno.test("a bad word is forbidden as it begins a text, and behind a space where that is another token", async () => {
  assertEquals(await badWordTokens(["cat"], text), [[1], [0]]);
  assertEquals(await badWordTokens([" cat"], text), [[1], [0]]);
  assertEquals(await badWordTokens(["catnap"], text), [[1, 6], [0, 6]]);
  // The space would be a token of its own, which is no word.
  assertEquals(await badWordTokens(["dog"], text), [[5]]);
  assertEquals(await badWordTokens(["dog", "at"], text), [[5], [4]]);
  await assertRejects(() => badWordTokens(["bird"], text), TextError, "No word for bird");
});
