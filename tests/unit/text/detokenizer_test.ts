import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { Detokenizer, IncrementalDecoder } from "../../../src/text/detokenizer.ts";

/** Tokens are chunks of bytes; decoding is UTF-8 with replacement, as byte-level tokenizers do. */
function byteVocabulary(chunks: readonly Uint8Array[]) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (ids: readonly number[]) => {
    const bytes: number[] = [];
    for (const id of ids) bytes.push(...chunks[id]);
    return decoder.decode(new Uint8Array(bytes));
  };
}

/** SentencePiece: words carry their space, the text's first one is stripped, bytes fall back. */
function sentencePieceVocabulary(chunks: readonly (string | number)[]) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (ids: readonly number[]) => {
    let text = "";
    let bytes: number[] = [];
    for (const id of [...ids, -1]) {
      const chunk = chunks[id];
      if (typeof chunk === "number") {
        bytes.push(chunk);
        continue;
      }
      text += decoder.decode(new Uint8Array(bytes)) + (chunk ?? "");
      bytes = [];
    }
    return text.startsWith(" ") ? text.slice(1) : text;
  };
}

function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...new Set(cuts.map((at) => at % bytes.length)), bytes.length]
    .filter((at) => at > 0).sort((a, b) => a - b);
  return ends.map((end, index) => bytes.slice(index === 0 ? 0 : ends[index - 1], end));
}

/** The specification: the match that ends first, the longest among those. */
function searchWhole(
  text: string,
  stops: readonly string[],
): { text: string; stop: string | null } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { text: text.slice(0, end - found.length), stop: found };
  }
  return { text, stop: null };
}

const all = (count: number) => Array.from({ length: count }, (_, id) => id);

Deno.test("emoji split over tokens appears when complete", () => {
  const bytes = new TextEncoder().encode("a😀b");
  const decoder = new IncrementalDecoder(
    byteVocabulary([...bytes].map((byte) => Uint8Array.of(byte))),
  );
  assertEquals(all(bytes.length).map((id) => decoder.push(id)), ["a", "", "", "", "😀", "b"]);
  assertEquals(decoder.flush(), "");
});

Deno.test("an unfinished character comes out as replacement at the end", () => {
  const decoder = new IncrementalDecoder(byteVocabulary([Uint8Array.of(65, 0xf0, 0x9f)]));
  assertEquals(decoder.push(0), "A");
  assertEquals(decoder.flush(), "\uFFFD");
  assertEquals(decoder.flush(), "");
});

Deno.test("pieces joined are the decoded whole, for any bytes", () => {
  fc.assert(fc.property(
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 5 }), { maxLength: 60 }),
    (chunks) => {
      const decode = byteVocabulary(chunks);
      const decoder = new IncrementalDecoder(decode);
      const text = all(chunks.length).map((id) => decoder.push(id)).join("") + decoder.flush();
      assertEquals(text, decode(all(chunks.length)));
    },
  ));
});

Deno.test("pieces joined are the decoded whole, for long runs of invalid bytes", () => {
  const byte = fc.constantFrom(0x80, 0x9f, 0xc3, 0xe2, 0xf0);
  fc.assert(fc.property(fc.array(byte, { minLength: 20, maxLength: 120 }), (bytes) => {
    const decode = byteVocabulary(bytes.map((value) => Uint8Array.of(value)));
    const decoder = new IncrementalDecoder(decode);
    const text = all(bytes.length).map((id) => decoder.push(id)).join("") + decoder.flush();
    assertEquals(text, decode(all(bytes.length)));
  }));
});

Deno.test("pieces joined are the decoded whole, for SentencePiece spaces and byte fallback", () => {
  const chunk = fc.oneof(
    fc.constantFrom(" ", "  ", " a", "b", "é", " 😀"),
    fc.constantFrom(0x41, 0x20, 0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0xff),
  );
  fc.assert(fc.property(fc.array(chunk, { maxLength: 60 }), (chunks) => {
    const decode = sentencePieceVocabulary(chunks);
    const decoder = new IncrementalDecoder(decode);
    const text = all(chunks.length).map((id) => decoder.push(id)).join("") + decoder.flush();
    assertEquals(text, decode(all(chunks.length)));
  }));
});

Deno.test("a window stays short, also when every byte is invalid", () => {
  for (const byte of [65, 0x80, 0xff]) {
    const inner = byteVocabulary([Uint8Array.of(byte)]);
    let longest = 0;
    let decoded = 0;
    const decoder = new IncrementalDecoder((ids) => {
      longest = Math.max(longest, ids.length);
      decoded += ids.length;
      return inner(ids);
    });
    let text = "";
    for (let index = 0; index < 2000; index++) text += decoder.push(0);
    text += decoder.flush();
    assertEquals(text, inner(new Array(2000).fill(0)));
    assertLess(longest, 64);
    assertLess(decoded, 2000 * 64);
  }
});

Deno.test("text and stop decision don't depend on the split into tokens and pushes", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é", "😀"), maxLength: 40 });
  const stop = fc.string({
    unit: fc.constantFrom("a", "b", "é", "😀"),
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(
      letters.filter((text) => text !== ""),
      fc.array(stop, { maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 40, maxLength: 40 }),
      (whole, stops, cuts, sizes) => {
        const chunks = cut(new TextEncoder().encode(whole), cuts);
        const decode = byteVocabulary(chunks);
        const detokenizer = new Detokenizer(decode, { stop: stops });
        const expected = searchWhole(whole, stops);
        let text = "";
        let found: string | null = null;
        let consumed = 0;
        for (let at = 0, push = 0; at < chunks.length && found === null; push++) {
          const end = Math.min(chunks.length, at + (sizes[push] ?? 1));
          const delta = detokenizer.push(all(end).slice(at), end === chunks.length);
          text += delta.text;
          found = delta.stop?.stop ?? null;
          consumed = at + (delta.stop?.tokens ?? end - at);
          at = end;
        }
        assertEquals({ text, stop: found }, expected);
        if (found !== null) {
          // Exactly the tokens up to the one that completes the stop string.
          assert(decode(all(consumed)).includes(found));
          assert(!decode(all(consumed - 1)).replaceAll("\uFFFD", "").startsWith(text + found));
        }
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("a partial stop string is held back and given at the end", () => {
  const words = ["say ", "ST", "O", "P", "!"];
  const decode = (ids: readonly number[]) => ids.map((id) => words[id]).join("");
  const open = (includeStop: boolean) => new Detokenizer(decode, { stop: ["STOP"], includeStop });
  const held = open(false);
  assertEquals(held.push([0, 1, 2], false), { text: "say ", stop: null });
  assertEquals(held.push([], true), { text: "STO", stop: null });
  const cutOff = open(false);
  assertEquals(cutOff.push([0, 1], false).text, "say ");
  assertEquals(cutOff.push([2, 3, 4], false), { text: "", stop: { stop: "STOP", tokens: 2 } });
  assertEquals(cutOff.push([4], true), { text: "", stop: null });
  assertEquals(open(true).push([0, 1, 2, 3], false).text, "say STOP");
});

Deno.test("skipped tokens have no text but count as tokens", () => {
  const decode = (ids: readonly number[]) => ids.map((id) => "ab!"[id]).join("");
  const detokenizer = new Detokenizer(decode, { stop: ["ab"], skip: (id) => id === 2 });
  assertEquals(detokenizer.push([0, 2, 2, 1], false).stop, { stop: "ab", tokens: 4 });
});

Deno.test("no stop string ends before the least tokens are there, those without text counted", () => {
  const decode = (ids: readonly number[]) => ids.map((id) => "ab!"[id]).join("");
  const options = { stop: ["ab"], skip: (id: number) => id === 2, minTokens: 3 };
  const stopOf = (ids: number[]) => new Detokenizer(decode, options).push(ids, true).stop;
  assertEquals(stopOf([0, 2, 1]), null);
  assertEquals(stopOf([0, 2, 2, 1]), { stop: "ab", tokens: 4 });
  assertEquals(stopOf([0, 1, 2, 0, 1]), { stop: "ab", tokens: 5 });
});
