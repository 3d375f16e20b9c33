import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { ModelLoadError } from "../../../src/models/errors.ts";
import {
  parseSafetensorsHeader,
  readSafetensorsHeader,
  type SafetensorsHeader,
} from "../../../src/models/safetensors.ts";
import { SafetensorsWriter } from "../../../src/models/safetensors_writer.ts";
import { withFolder } from "../_folder.ts";

const FILE = "model.safetensors";

/** Parses a header's text as if `dataBytes` followed it. */
function parse(text: string | Uint8Array, dataBytes: number): SafetensorsHeader {
  const header = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return parseSafetensorsHeader(header, { file: FILE, fileBytes: 8 + header.length + dataBytes });
}

function refusal(text: string | Uint8Array, dataBytes: number): ModelLoadError {
  const error = assertThrows(() => parse(text, dataBytes), ModelLoadError);
  assertEquals(error.file, FILE);
  assertStringIncludes(error.message, FILE);
  return error;
}

/** The error for a tensor, which it must name. */
function tensorRefusal(tensors: Record<string, unknown>, dataBytes: number, name: string): string {
  const error = refusal(JSON.stringify(tensors), dataBytes);
  assertEquals(error.tensor, name);
  assertStringIncludes(error.message, `tensor ${name} `);
  return error.message;
}

const f32 = (shape: number[], begin: number, end: number) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

Deno.test("a header gives each tensor's place in the file", () => {
  const text = JSON.stringify({
    b: f32([2, 3], 8, 32),
    __metadata__: { format: "pt" },
    a: { dtype: "BF16", shape: [4], data_offsets: [0, 8] },
    scalar: f32([], 32, 36),
    none: f32([0, 7], 36, 36),
  });
  const header = parse(`${text}    `, 36);
  const data = 8 + text.length + 4;
  assertEquals(header.metadata.get("format"), "pt");
  assertEquals([...header.tensors.keys()], ["b", "a", "scalar", "none"]);
  assertEquals(header.tensors.get("b"), {
    name: "b",
    dtype: "F32",
    shape: [2, 3],
    byteOffset: data + 8,
    byteLength: 24,
  });
  assertEquals(header.tensors.get("none")?.byteLength, 0);
  assertEquals(parse("{}", 0).tensors.size, 0);
});

Deno.test("tensors that overlap, leave a gap or pass the end are refused by name", () => {
  assertStringIncludes(
    tensorRefusal({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12, "b"),
    "overlaps",
  );
  assertStringIncludes(
    tensorRefusal({ a: f32([2], 0, 8), b: f32([2], 12, 20) }, 20, "b"),
    "gap",
  );
  assertStringIncludes(tensorRefusal({ a: f32([2], 4, 12) }, 12, "a"), "gap");
  assertStringIncludes(tensorRefusal({ a: f32([2], 0, 8) }, 7, "a"), "end of the file");
  assertStringIncludes(
    tensorRefusal({ a: f32([2], 0, 8), b: f32([2 ** 50], 8, 8 + 2 ** 52) }, 16, "b"),
    "end of the file",
  );
  assertStringIncludes(
    refusal(JSON.stringify({ a: f32([2], 0, 8) }), 9).message,
    "bytes follow the last tensor: 1 bytes",
  );
});

Deno.test("an entry whose parts disagree or have the wrong type is refused by name", () => {
  const cases: [unknown, string][] = [
    [f32([3], 0, 8), "takes 12 bytes: data_offsets give 8"],
    [{ ...f32([2], 0, 8), dtype: "F16" }, "takes 4 bytes"],
    [f32([2 ** 30, 2 ** 30], 0, 8), "overflows"],
    [f32([2 ** 52], 0, 8), "overflows"],
    [f32([-2], 0, 8), "shape is not"],
    [f32([1.5], 0, 6), "shape is not"],
    [{ ...f32([2], 0, 8), shape: "2" }, "shape is not"],
    [{ ...f32([2], 0, 8), shape: [["2"]] }, "shape is not"],
    [f32([2], 8, 0), "backwards"],
    [f32([2], -8, 0), "data_offsets are not"],
    [{ ...f32([2], 0, 8), data_offsets: [0] }, "data_offsets are not"],
    [{ ...f32([2], 0, 8), data_offsets: [0, 8, 16] }, "data_offsets are not"],
    [{ ...f32([2], 0, 8), data_offsets: [0, 1e300] }, "data_offsets are not"],
    [{ ...f32([2], 0, 8), dtype: 32 }, "dtype is not"],
    [{ ...f32([2], 0, 8), stride: 1 }, 'unknown key "stride"'],
    [{ dtype: "F32", shape: [2] }, "no data_offsets"],
    [{ shape: [2], data_offsets: [0, 8] }, "no dtype"],
    [[], "not an object"],
    [null, "not an object"],
  ];
  for (const [entry, reason] of cases) {
    assertStringIncludes(tensorRefusal({ w: entry }, 8, "w"), reason);
  }
});

Deno.test("a type of unknown size is left to whoever reads the tensor", () => {
  const entry = { dtype: "F4", shape: [3], data_offsets: [0, 2] };
  assertEquals(parse(JSON.stringify({ w: entry }), 2).tensors.get("w")?.dtype, "F4");
});

Deno.test("JSON that is not what the format says is refused", () => {
  assertStringIncludes(refusal("[]", 0).message, 'start with "{"');
  assertStringIncludes(refusal(" {}", 0).message, 'start with "{"');
  assertStringIncludes(refusal("", 0).message, 'start with "{"');
  assertStringIncludes(refusal('{"a":', 0).message, "malformed");
  assertStringIncludes(refusal("{}\0", 0).message, "malformed");
  assertStringIncludes(refusal(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d), 0).message, "UTF-8");
  assertStringIncludes(refusal('{"__metadata__": []}', 0).message, "__metadata__");
  assertStringIncludes(refusal('{"__metadata__": {"step": 1}}', 0).message, '"step"');
});

Deno.test("duplicate names are refused, escaped or not, at any depth", () => {
  const entry = JSON.stringify(f32([2], 0, 8));
  assertStringIncludes(refusal(`{"w":${entry},"w":${entry}}`, 8).message, 'twice: "w"');
  assertStringIncludes(refusal(`{"w":${entry}, "\\u0077" :${entry}}`, 8).message, 'twice: "w"');
  assertStringIncludes(
    refusal('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[2]}}', 8).message,
    'twice: "shape"',
  );
  // Equal strings that are no keys, or keys of different objects, are fine.
  parse(`{"__metadata__":{"a":"a","b":"a:\\"a\\":","w":"{"},"w":${entry}}`, 8);
});

function withFile(run: (path: string) => void): void {
  withFolder((folder) => run(`${folder}/model.safetensors`));
}

Deno.test("a header length is checked against limit and file before it is allocated", () => {
  withFile((path) => {
    const reason = (headerBytes: bigint, rest: number) => {
      const bytes = new Uint8Array(8 + rest);
      new DataView(bytes.buffer).setBigUint64(0, headerBytes, true);
      Deno.writeFileSync(path, bytes);
      const error = assertThrows(() => readSafetensorsHeader(path), ModelLoadError);
      assertEquals(error.file, path);
      return error.message;
    };
    assertStringIncludes(reason(200_000_000n, 100), "larger than 100000000 bytes");
    assertStringIncludes(reason(2n ** 64n - 1n, 100), "larger than");
    assertStringIncludes(reason(101n, 100), "passes the end of the file");
    assertStringIncludes(reason(99_000_000n, 100), "passes the end of the file");
    assertStringIncludes(reason(0n, 0), 'start with "{"');
    Deno.writeFileSync(path, new Uint8Array(7));
    assertThrows(() => readSafetensorsHeader(path), ModelLoadError, "ends inside its header");
    Deno.removeSync(path);
    assertThrows(() => readSafetensorsHeader(path), ModelLoadError, "does not exist");
    Deno.mkdirSync(path);
    assertThrows(() => readSafetensorsHeader(path), ModelLoadError, "not a regular file");
  });
});

const SIZES: Record<string, number> = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1, BOOL: 1 };

const arbitraryTensors = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__"),
    dtype: fc.constantFrom(...Object.keys(SIZES)),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
  }).map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    byteLength: SIZES[dtype] * shape.reduce((product, size) => product * size, 1),
  })),
  { selector: ({ name }) => name, maxLength: 8 },
);

Deno.test("what the writer writes the reader reads", () => {
  withFile((path) => {
    fc.assert(
      fc.property(arbitraryTensors, (tensors) => {
        using writer = new SafetensorsWriter(path, { tensors, metadata: { format: "pt" } });
        tensors.forEach(({ byteLength }, i) =>
          writer.write(new Uint8Array(byteLength).fill(i + 1))
        );
        writer.finish();
        const bytes = Deno.readFileSync(path);
        const header = readSafetensorsHeader(path);
        assertEquals(header.tensors.size, tensors.length);
        tensors.forEach(({ name, dtype, shape, byteLength }, i) => {
          const entry = header.tensors.get(name);
          assert(entry);
          assertEquals([entry.dtype, entry.shape, entry.byteLength], [dtype, shape, byteLength]);
          const data = bytes.subarray(entry.byteOffset, entry.byteOffset + byteLength);
          assert(data.every((byte) => byte === i + 1));
        });
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});

Deno.test("flipped bytes are refused or leave every tensor inside the file", () => {
  const tensors = { a: f32([2, 3], 0, 24), b: f32([4], 24, 40) };
  const header = new TextEncoder().encode(
    JSON.stringify({ __metadata__: { format: "pt" }, ...tensors }),
  );
  let accepted = 0;
  const flip = fc.tuple(fc.nat(header.length - 1), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(flip, { minLength: 1, maxLength: 4 }), (flips) => {
      const mutated = header.slice();
      for (const [index, value] of flips) mutated[index] = value;
      let result: SafetensorsHeader;
      try {
        result = parse(mutated, 40);
      } catch (error) {
        assertInstanceOf(error, ModelLoadError);
        return;
      }
      accepted++;
      let end = 8 + header.length;
      for (
        const entry of [...result.tensors.values()].sort((a, b) => a.byteOffset - b.byteOffset)
      ) {
        assertEquals(entry.byteOffset, end);
        end += entry.byteLength;
      }
      assertEquals(end, result.fileBytes);
    }),
    { numRuns: 3000, seed: 2 },
  );
  // Some flips only rename a tensor: the property was put to use on both sides.
  assert(accepted > 0 && accepted < 3000, `${accepted} accepted`);
});

Deno.test("the writer refuses more, fewer or ambiguous bytes", () => {
  withFile((path) => {
    const tensors = [{ name: "w", dtype: "F32", shape: [2], byteLength: 8 }];
    using writer = new SafetensorsWriter(path, { tensors });
    writer.write(new Float32Array(1));
    assertThrows(() => writer.finish(), RangeError, "8 bytes were announced: 4 are written");
    assertThrows(() => writer.write(new Uint8Array(5)), RangeError, "Cannot write 5 bytes");
    writer.write(new Float32Array(1));
    writer.finish();
    assertThrows(
      () => new SafetensorsWriter(path, { tensors: [...tensors, ...tensors] }),
      RangeError,
      "same name",
    );
  });
});
