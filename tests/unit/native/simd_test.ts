import { assert, assertEquals } from "@std/assert";
import { instructionSetFlags, openSimdHarness, type SimdHarness } from "./_simd_harness.ts";

const FUNCTIONS = {
  identity: 0,
  exp: 1,
  log: 2,
  tanh: 3,
  silu: 4,
  gelu: 5,
  round: 6,
  neg: 7,
  abs: 8,
  sqrt: 9,
} as const;
type FunctionName = keyof typeof FUNCTIONS;

const F16 = 1;
const BF16 = 2;

function apply(
  harness: SimdHarness,
  name: FunctionName,
  x: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(x.length + 4).fill(-77);
  harness.symbols.harness_apply(FUNCTIONS[name], out, x, x.length);
  assertEquals([...out.subarray(x.length)], [-77, -77, -77, -77], "wrote past the end");
  return out.slice(0, x.length);
}

/** Values between `low` and `high`, and of every magnitude, odd in number. */
function samples(low: number, high: number): Float32Array<ArrayBuffer> {
  const values: number[] = [];
  for (let i = 0; i <= 4000; i++) values.push(low + (high - low) * (i / 4000));
  for (let e = -149; e < 128; e++) {
    for (const value of [1.37 * 2 ** e, -1.61 * 2 ** e]) {
      if (value >= low && value <= high) values.push(value);
    }
  }
  if (values.length % 2 === 0) values.push(low);
  return new Float32Array(values);
}

const SPECIAL = new Float32Array([
  ...[0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, Infinity, -Infinity, NaN, 88.72, 88.73, 89, 1e30, -1e30],
  ...[
    -87.4,
    -103,
    -103.9,
    -104,
    3.4028234663852886e38,
    1.1754943508222875e-38,
    1e-40,
    -1e-40,
    1e-45,
  ],
  ...[0.625, 0.6249999, -0.625, 9.1, -9.1, 20],
]);

const REFERENCES: Record<string, { f: (x: number) => number; low: number; high: number }> = {
  exp: { f: Math.exp, low: -103, high: 88.7 },
  log: { f: Math.log, low: 1e-45, high: 3e38 },
  tanh: { f: Math.tanh, low: -20, high: 20 },
  silu: { f: (x) => x / (1 + Math.exp(-x)), low: -80, high: 80 },
  gelu: {
    f: (x) => x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    low: -6,
    high: 30,
  },
};

/** Distance in units of the last place of `want` as f32. */
function ulps(got: number, want: number): number {
  const rounded = Math.fround(want);
  if (Object.is(got, rounded) || got === rounded) return 0;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(want))));
  return Math.abs(got - want) / 2 ** (exponent - 23);
}

Deno.test("vector functions are within a few ulp of float64", () => {
  using harness = closing(openSimdHarness(instructionSetFlags().native));
  // GELU's error grows with its argument's: the rounding of 2u is multiplied by |2u| at the left end.
  const limits: Record<string, number> = { exp: 1, log: 1, tanh: 2, silu: 2, gelu: 40 };
  for (const [name, { f, low, high }] of Object.entries(REFERENCES)) {
    const x = samples(low, high);
    const y = apply(harness, name as FunctionName, x);
    let worst = 0;
    let at = 0;
    x.forEach((value, i) => {
      const error = ulps(y[i], f(value));
      if (!(error <= worst)) {
        worst = error;
        at = value;
      }
    });
    assert(worst <= limits[name], `${name}(${at}) is ${worst} ulp off`);
  }
});

Deno.test("vector functions are exact where the sums rely on it", () => {
  using harness = closing(openSimdHarness(instructionSetFlags().native));
  const at = (name: FunctionName, ...x: number[]) => [
    ...apply(harness, name, new Float32Array(x)),
  ];
  assertEquals(at("exp", 0, -0, -Infinity, -104, Infinity, 89), [1, 1, 0, 0, Infinity, Infinity]);
  assertEquals(at("log", 1, 0, Infinity), [0, -Infinity, Infinity]);
  assertEquals(at("tanh", 0, 20, -20, Infinity, -Infinity), [0, 1, -1, 1, -1]);
  assertEquals(at("silu", 0, 200), [0, 200]);
  assertEquals(at("gelu", 0, 50), [0, 50]);
  assertEquals(at("round", 0.5, 1.5, 2.5, -0.5), [0, 2, 2, -0]);
  for (const name of ["exp", "log", "tanh", "silu", "gelu"] as const) {
    assert(Number.isNaN(at(name, NaN)[0]), `${name} loses NaN`);
  }
  assert(Number.isNaN(at("log", -1)[0]));
});

Deno.test("f16 and bf16 widen exactly and narrow to nearest even", () => {
  using harness = closing(openSimdHarness(instructionSetFlags().native));
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const wide = new Float32Array(65536);
  harness.symbols.harness_widen(F16, wide, all, all.length);
  const halves = new Float16Array(all.buffer);
  for (let i = 0; i < 65536; i++) assert(Object.is(wide[i], halves[i]), `f16 ${i}: ${wide[i]}`);
  harness.symbols.harness_widen(BF16, wide, all, all.length);
  const bits = new Uint32Array(wide.buffer);
  for (let i = 0; i < 65536; i++) assertEquals(bits[i], i << 16 >>> 0);

  const x = samples(-7e4, 7e4);
  const narrow = new Uint16Array(x.length);
  harness.symbols.harness_narrow(F16, narrow, x, x.length);
  const want = new Uint16Array(Float16Array.from(x).buffer);
  for (let i = 0; i < x.length; i++) assertEquals(narrow[i], want[i], `f16 of ${x[i]}`);
  // Halfway cases of bf16: to the even neighbour; just above: up; largest f32: infinity; NaN stays.
  const cases = new Uint32Array([0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7f800001]);
  const out = new Uint16Array(cases.length);
  harness.symbols.harness_narrow(BF16, out, new Float32Array(cases.buffer), cases.length);
  assertEquals([...out], [0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x7fc0]);
});

Deno.test("lanes are added as i with i + 8, then 4, 2, 1", () => {
  using harness = closing(openSimdHarness(instructionSetFlags().native));
  const x = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i * 12.9898) * 10 ** (i % 7));
  const out = new Float32Array(48);
  harness.symbols.harness_reduce(out, x);
  for (let j = 0; j < 16; j++) {
    const lanes = x.slice(16 * j, 16 * j + 16);
    const largest = Math.max(...lanes);
    for (let width = 8; width >= 1; width /= 2) {
      for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
    }
    assertEquals([out[j], out[16 + j], out[32 + j]], [lanes[0], lanes[0], largest]);
  }
});

Deno.test("all instruction sets give the same bits", () => {
  const results = Object.entries(instructionSetFlags()).map(([set, flags]) => {
    using harness = closing(openSimdHarness(flags));
    return { set, bits: everything(harness) };
  });
  const [native, ...others] = results;
  for (const { set, bits } of others) {
    for (const [name, values] of Object.entries(native.bits)) {
      values.forEach((value, i) => {
        if (value !== bits[name][i]) {
          throw new Error(
            `${name}[${i}] is ${value.toString(16)} natively and ${
              bits[name][i].toString(16)
            } on ${set}`,
          );
        }
      });
    }
  }
  assert(others.length >= 1);
});

/** Results of every function on one harness, as bits; NaN counts as one value. */
function everything(harness: SimdHarness): Record<string, number[]> {
  const results: Record<string, number[]> = {};
  const x = new Float32Array([...SPECIAL, ...samples(-110, 110), ...samples(-3, 3)]);
  for (const name of Object.keys(FUNCTIONS) as FunctionName[]) {
    results[name] = bitsOf(apply(harness, name, x));
  }
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  for (const format of [F16, BF16]) {
    const wide = new Float32Array(65536);
    harness.symbols.harness_widen(format, wide, all, 65533);
    results[`widen ${format}`] = bitsOf(wide);
    const narrow = new Uint16Array(x.length);
    harness.symbols.harness_narrow(format, narrow, x, x.length);
    results[`narrow ${format}`] = [...narrow];
  }
  const reduced = new Float32Array(48);
  harness.symbols.harness_reduce(reduced, x.slice(100, 356));
  results.reduce = bitsOf(reduced);
  const masks = new Uint32Array(5);
  const chosen = new Float32Array(64);
  harness.symbols.harness_compare(masks, chosen, x.slice(0, 16), SPECIAL.slice(5, 21));
  results.compare = [...masks, ...bitsOf(chosen)];
  return results;
}

function bitsOf(values: Float32Array<ArrayBuffer>): number[] {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Array.from(bits, (value, i) => Number.isNaN(values[i]) ? 0x7fc00000 : value);
}

/** Closes the library at the end of a scope. */
function closing(harness: SimdHarness): SimdHarness & Disposable {
  return {
    symbols: harness.symbols,
    close: () => harness.close(),
    [Symbol.dispose]: () => harness.close(),
  };
}
