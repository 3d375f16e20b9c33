import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { ropeFrequencies, type RopeScaling } from "../../../src/layers/rotary_embedding.ts";

const frequencies = (scaling: RopeScaling) =>
  ropeFrequencies({ theta: 10000, rotaryDim: 64, scaling });

Deno.test("ropeFrequencies: default and linear", () => {
  const plain = frequencies({ type: "default" });
  assertEquals(plain.length, 32);
  assertEquals(plain[0], 1);
  assertAlmostEquals(plain[16], 0.01, 1e-12);
  const linear = frequencies({ type: "linear", factor: 4 });
  linear.forEach((value, i) => assertAlmostEquals(value, plain[i] / 4, 1e-15));
});

Deno.test("ropeFrequencies: llama3 keeps fast pairs, stretches slow ones, blends between", () => {
  const plain = frequencies({ type: "default" });
  const scaled = frequencies({
    type: "llama3",
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 8192,
  });
  let blended = 0;
  plain.forEach((frequency, i) => {
    const wavelength = 2 * Math.PI / frequency;
    if (wavelength < 8192 / 4) assertEquals(scaled[i], frequency);
    else if (wavelength > 8192) assertAlmostEquals(scaled[i], frequency / 8, 1e-15);
    else {
      blended++;
      assert(scaled[i] < frequency && scaled[i] > frequency / 8);
    }
  });
  assert(blended > 0);
});
