import { assert, assertEquals } from "@std/assert";
import { ONNX_FILE, writeOnnx } from "../../../bench/versus/onnx_model.ts";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import { presetConfig } from "../../../src/models/presets.ts";

const CONFIG = parseModelConfig(presetConfig("tiny"), { source: "preset tiny" });

/** A message of protocol buffers: the values of each field, numbers or bytes. */
class Message {
  readonly #fields = new Map<number, (number | Uint8Array)[]>();

  constructor(bytes: Uint8Array) {
    let at = 0;
    const varint = () => {
      let value = 0;
      for (let factor = 1;; factor *= 128) {
        const byte = bytes[at++];
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
    };
    while (at < bytes.length) {
      const key = varint();
      const kind = key % 8;
      assert(kind === 0 || kind === 2 || kind === 5, `wire type ${kind}`);
      const length = kind === 2 ? varint() : 4;
      const value = kind === 0 ? varint() : bytes.subarray(at, at += length);
      this.#fields.set(key >> 3, [...this.#fields.get(key >> 3) ?? [], value]);
    }
    assertEquals(at, bytes.length);
  }

  numbers(field: number): number[] {
    return (this.#fields.get(field) ?? []) as number[];
  }

  messages(field: number): Message[] {
    return (this.#fields.get(field) ?? []).map((bytes) => new Message(bytes as Uint8Array));
  }

  texts(field: number): string[] {
    return (this.#fields.get(field) ?? []).map((bytes) =>
      new TextDecoder().decode(bytes as Uint8Array)
    );
  }
}

for (const format of ["f32", "int8", "int4"] as const) {
  Deno.test(`an ONNX model in ${format} is whole: every value is made before it is used, every weight lies in the file`, () => {
    const folder = Deno.makeTempDirSync();
    try {
      writeOnnx(folder, { config: CONFIG, format });
      const model = new Message(Deno.readFileSync(`${folder}/${ONNX_FILE}`));
      assertEquals(model.messages(8).flatMap((set) => set.texts(1)), ["", "com.microsoft"]);
      const [graph] = model.messages(7);
      const known = new Set([
        "",
        ...[5, 11].flatMap((field) =>
          graph.messages(field).flatMap((value) => value.texts(field === 5 ? 8 : 1))
        ),
      ]);
      for (const node of graph.messages(1)) {
        for (const input of node.texts(1)) assert(known.has(input), input);
        for (const output of node.texts(2)) {
          assert(output === "" || !known.has(output), output);
          known.add(output);
        }
      }
      const outputs = graph.messages(12).flatMap((value) => value.texts(1));
      assertEquals(outputs.length, 1 + 2 * CONFIG.numLayers);
      for (const output of outputs) assert(known.has(output), output);

      let end = 0;
      const { size } = Deno.statSync(`${folder}/${ONNX_FILE}.data`);
      for (const constant of graph.messages(5)) {
        const entries = constant.messages(13).map((
          entry,
        ) => [entry.texts(1)[0], entry.texts(2)[0]]);
        const { location, offset, length } = Object.fromEntries(entries);
        if (location === undefined) continue;
        const width = constant.numbers(2)[0] === 1 ? 4 : 1;
        const count = constant.numbers(1).reduce((product, size) => product * size, 1);
        assertEquals([location, Number(length)], [`${ONNX_FILE}.data`, width * count]);
        assert(Number(offset) >= end && Number(offset) % 4096 === 0);
        end = Number(offset) + Number(length);
      }
      assert(end > 0 && end <= size);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
