import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { compileSources } from "../../../src/native/compile.ts";
import { CPU_SOURCES } from "../../../src/native/sources.ts";
import { withAmxTwin } from "../../amx_twin/sources.ts";

const SYMBOLS = {
  harness_product: {
    parameters: ["i32", "i32", "i32", "i32", "buffer", "buffer", "buffer", "i64", "i64", "i64"],
    result: "void",
  },
  harness_permission: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
const FAULTS = {
  harness_fault: { parameters: ["buffer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const HARNESS = {
  name: "harness.c",
  text: Deno.readTextFileSync(new URL("./_amx_harness.c", import.meta.url)),
};
const AMX_FLAGS = ["-march=x86-64", "-mamx-tile", "-mamx-bf16", "-mamx-int8"];

/** An opened library that closes with its block. */
function open<S extends Deno.ForeignLibraryInterface>(path: string, symbols: S) {
  const library = Deno.dlopen(path, symbols);
  return { symbols: library.symbols, [Symbol.dispose]: () => library.close() };
}

function realSources() {
  return [...CPU_SOURCES.filter(({ name }) => name === "amx.h"), HARNESS];
}

function twinPath(): string {
  return compileSources(withAmxTwin([HARNESS]), ["-DWEFT_HARNESS_FAULTS"]);
}

/** What the twin does, and how a processor could be mistaken instead. */
const TWIN_FAULTS = [
  ["return (int8_t)a * b;", "return a * b;"], // a unsigned
  ["return (int8_t)a * b;", "return (int8_t)a * (int8_t)b;"], // b signed
  ["(const uint8_t*)base + row * stride", "(const uint8_t*)base + row * 64"], // strides ignored
  ["widen(&tiles[b].bytes[k][4 * n + 2])", "widen(&tiles[b].bytes[k][4 * n])"], // pairs
] as const;

const ENABLE = { weft_enable_instruction_set: { parameters: [], result: "i32" } } as const;

/** What is asked of the processor before its tiles are used, on the twin after `change`. */
function enableTwin(change: (twin: string) => string): number {
  const files = /^(identity|amx_check|simd)/;
  const sources = withAmxTwin(CPU_SOURCES.filter(({ name }) => files.test(name)))
    .map(({ name, text }) => ({ name, text: name === "amx_twin.c" ? change(text) : text }));
  using library = open(compileSources(sources, ["-march=x86-64"]), ENABLE);
  return library.symbols.weft_enable_instruction_set();
}

Deno.test("tiles that compute something else are not used", () => {
  assertEquals(enableTwin((twin) => twin), 0);
  for (const [right, wrong] of TWIN_FAULTS) {
    const status = enableTwin((twin) => {
      assert(twin.includes(right), `the twin has: ${right}`);
      return twin.replaceAll(right, wrong);
    });
    assertEquals(status, 1, wrong);
  }
});

function hasAmx(): boolean {
  return /\bamx_tile\b/.test(Deno.readTextFileSync("/proc/cpuinfo"));
}

/** The twin, and the instructions where this machine has them. */
function libraries(): string[] {
  return hasAmx() ? [twinPath(), compileSources(realSources(), AMX_FLAGS)] : [twinPath()];
}

const SHAPES = [[16, 16, 16], [1, 16, 16], [16, 1, 16], [16, 16, 1], [5, 3, 7], [11, 16, 9]];
const C_STRIDE = 80, A_STRIDE = 72, B_STRIDE = 64;

/** Deterministic bits. */
function bits(count: number, seed: number): Uint32Array {
  let state = seed >>> 0;
  return Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state ^ (state >>> 15)) >>> 0;
  });
}

const MINIMUM = 2 ** -126;
const flush = (a: number) => Math.abs(a) < MINIMUM ? (Object.is(a, -0) || a < 0 ? -0 : 0) : a;
const round = (a: number) => flush(Math.fround(a));

function bf16(bytes: DataView, offset: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, bytes.getUint16(offset, true) << 16);
  return flush(word.getFloat32(0));
}

for (const [rows, columns, depth] of SHAPES) {
  Deno.test(`tiles add bf16 products in the manual's order: ${rows} x ${columns}, depth ${depth}`, () => {
    // Values of 8 significant bits near 1, and some subnormal ones.
    const values = bits(4096, 7).map((b) =>
      b % 50 === 0 ? 0x0001 | (b & 0x8000) : 0x3f00 | (b & 0x80ff)
    );
    const a = new DataView(Uint16Array.from(values.subarray(0, 8 * A_STRIDE)).buffer);
    const b = new DataView(Uint16Array.from(values.subarray(1000, 1000 + 8 * B_STRIDE)).buffer);
    const start = Float32Array.from(bits(16 * C_STRIDE / 4, 3), (x) => (x / 2 ** 31 - 1) * 9);
    start[0] = 1e-40;
    const expected = start.slice();
    for (let m = 0; m < rows; m++) {
      for (let n = 0; n < columns; n++) {
        let even = 0, odd = 0;
        for (let k = 0; k < depth; k++) {
          // Exact in float64: 16 significant bits are added to 24, near each other.
          even = round(even + bf16(a, m * A_STRIDE + 4 * k) * bf16(b, k * B_STRIDE + 4 * n));
          odd = round(odd + bf16(a, m * A_STRIDE + 4 * k + 2) * bf16(b, k * B_STRIDE + 4 * n + 2));
        }
        const at = m * C_STRIDE / 4 + n;
        expected[at] = round(flush(start[at]) + round(even + odd));
      }
    }
    for (const path of libraries()) {
      using library = open(path, SYMBOLS);
      assertEquals(library.symbols.harness_permission(), 0);
      const c = start.slice();
      const strides = [BigInt(C_STRIDE), BigInt(A_STRIDE), BigInt(B_STRIDE)] as const;
      library.symbols.harness_product(
        0,
        rows,
        columns,
        depth,
        c,
        a.buffer as ArrayBuffer,
        b.buffer as ArrayBuffer,
        ...strides,
      );
      // Kernels rely on a fixed order, not on this one: on a processor that takes another, results are near.
      if (path === twinPath()) assertEquals(c, expected);
      else c.forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-4));
    }
  });
}

for (
  const [kind, aSigned, bSigned] of [[1, true, true], [2, true, false], [3, false, true]] as const
) {
  Deno.test(`tiles add products of bytes without saturation: kind ${kind}`, () => {
    for (const [rows, columns, depth] of SHAPES) {
      const a = new Uint8Array(bits(16 * A_STRIDE, 1).map((x) => x & 0xff));
      const b = new Uint8Array(bits(16 * B_STRIDE, 2).map((x) => x & 0xff));
      const start = new Int32Array(bits(16 * C_STRIDE / 4, 5));
      start[0] = 2 ** 31 - 1;
      const value = (x: number, signed: boolean) => signed ? (x << 24) >> 24 : x;
      const expected = start.slice();
      for (let m = 0; m < rows; m++) {
        for (let n = 0; n < columns; n++) {
          for (let k = 0; k < 4 * depth; k++) {
            const x = value(a[m * A_STRIDE + k], aSigned);
            const y = value(b[(k >> 2) * B_STRIDE + 4 * n + (k & 3)], bSigned);
            expected[m * C_STRIDE / 4 + n] += x * y;
          }
        }
      }
      for (const path of libraries()) {
        using library = open(path, SYMBOLS);
        assertEquals(library.symbols.harness_permission(), 0);
        const c = start.slice();
        const strides = [BigInt(C_STRIDE), BigInt(A_STRIDE), BigInt(B_STRIDE)] as const;
        library.symbols.harness_product(kind, rows, columns, depth, c, a, b, ...strides);
        assertEquals(c, expected);
      }
    }
  });
}

interface Attempt {
  readonly palette?: number;
  readonly reserved?: number;
  readonly unaligned?: number;
  /** 0 product, 1 product of one tile with itself, 2 store, 3 zero of a tile without shape, 4 none. */
  readonly operation?: number;
  readonly rows?: readonly number[];
  readonly rowBytes?: readonly number[];
  readonly used?: readonly number[];
}

Deno.test("the twin faults where the processor does, and on tiles that nothing was put into", () => {
  using library = open(twinPath(), FAULTS);
  const faultOf = (attempt: Attempt): string | null => {
    const { palette = 1, reserved = 0, unaligned = 0, operation = 0 } = attempt;
    const { rows = [4, 4, 8], rowBytes = [64, 32, 64], used = [1, 1, 1] } = attempt;
    const what = library.symbols.harness_fault(
      Int32Array.of(palette, reserved, unaligned, operation, ...rows, ...rowBytes, ...used),
    );
    return what === null ? null : Deno.UnsafePointerView.getCString(what);
  };
  assertEquals(faultOf({}), null);
  assertEquals(faultOf({ operation: 2 }), null);
  const cases: [Attempt, RegExp][] = [
    [{ palette: 2 }, /palette/],
    [{ palette: 0 }, /no configuration/],
    [{ reserved: 1 }, /reserved/],
    [{ unaligned: 8 }, /aligned/],
    [{ rows: [17, 4, 8] }, /more than 16 rows/],
    [{ rowBytes: [68, 32, 64] }, /more than 64 bytes/],
    [{ rows: [0, 4, 8] }, /bytes without rows/],
    [{ rows: [5, 4, 8] }, /c and a differ/],
    [{ rowBytes: [60, 32, 64] }, /c and b differ/],
    [{ rowBytes: [64, 28, 64] }, /columns of a and rows of b/],
    [{ rowBytes: [62, 32, 62] }, /multiple of 4/],
    [{ operation: 1 }, /three different tiles/],
    [{ operation: 3 }, /no shape/],
    [{ used: [1, 1, 0] }, /neither zeroed nor loaded/],
    [{ operation: 2, used: [0, 1, 1] }, /neither zeroed nor loaded/],
  ];
  for (const [attempt, expected] of cases) {
    const fault = faultOf(attempt);
    assert(fault !== null && expected.test(fault), `${JSON.stringify(attempt)}: ${fault}`);
  }
});

Deno.test({
  name: "amx.h compiles to the instructions, each after what it reads was stored",
  ignore: Deno.build.arch !== "x86_64",
  fn: () => {
    const path = compileSources(realSources(), AMX_FLAGS);
    const { success, stdout } = new Deno.Command("objdump", {
      args: ["-d", "--no-show-raw-insn", "--disassemble=harness_product", path],
      env: { LC_ALL: "C" },
    }).outputSync();
    assert(success, "objdump comes with every C compiler of a Linux distribution");
    const lines = new TextDecoder().decode(stdout).split("\n");
    const tiles = lines.map((line) => line.split("\t")[1]?.trim() ?? "")
      .filter((text) => /^(ldtile|tile|tdp)/.test(text));
    assert(tiles[0].startsWith("ldtilecfg"));
    for (const name of ["tileloadd", "tileloaddt1", "tdpbssd", "tdpbsud", "tdpbusd", "tdpbf16ps"]) {
      assert(tiles.some((text) => text.startsWith(name)), `no ${name} in\n${tiles.join("\n")}`);
    }
    assert(tiles.includes("tdpbf16ps %tmm2,%tmm1,%tmm0"));
    assert(tiles.some((text) => /^tilestored %tmm0,\(.*,1\)$/.test(text)));
    assert(tiles.includes("tilerelease"));
    const configuration = lines.findIndex((line) => line.includes("ldtilecfg"));
    const palette = lines.findIndex((line) => /movb\s+\$0x1,/.test(line));
    assert(palette >= 0 && palette < configuration, lines.join("\n"));
  },
});
