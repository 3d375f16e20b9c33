import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/tensor/device.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { assertSameBits, Matrix, vector } from "./_matrix.ts";
import { Random } from "./_random.ts";

/** A change to the logit of a token. */
interface Entry {
  readonly id: number;
  readonly before: number;
  readonly scale: number;
  readonly after: number;
}

const UNWRITTEN = 0x7fc0dead;

/** What a device makes of adjusted logits, what it has saved, and what it puts back. */
function adjust(
  device: Device,
  logits: Float32Array,
  rows: readonly (readonly Entry[])[],
  { firstId, capacity }: { readonly firstId: number; readonly capacity: number },
) {
  const size = logits.length / rows.length;
  const x = new Matrix(device, rows.length, size, { values: logits });
  const starts = Int32Array.from([0, ...rows], (_, row) => rows.slice(0, row).flat().length);
  const entries = new Int32Array(4 * Math.max(1, capacity));
  const floats = new Float32Array(entries.buffer);
  for (const [i, { id, before, scale, after }] of rows.flat().slice(0, capacity).entries()) {
    entries[4 * i] = id;
    floats.set([before, scale, after], 4 * i + 1);
  }
  const options = {
    size,
    firstId,
    starts: vector(device, starts),
    entries: vector(device, entries),
    saved: vector(device, new Float32Array(new Uint32Array(capacity).fill(UNWRITTEN).buffer)),
  };
  device.adjustLogits(x.tensor, rows.length, options);
  const adjusted = x.read();
  const saved = options.saved.download(new Float32Array(capacity));
  device.restoreLogits(x.tensor, rows.length, options);
  return { adjusted, saved, restored: x.read() };
}

function randomEntries(random: Random, size: number, firstId: number): Entry[] {
  // Tokens before and behind the shard too, none twice.
  const ids = random.permutation(size + 6).subarray(0, random.below(size + 7));
  return Array.from(ids, (id) => ({
    id: Math.max(0, firstId - 3) + id,
    before: random.below(3) === 0 ? 0 : 20 * random.next() - 10,
    scale: random.below(3) === 0 ? 1 : 0.5 + random.next(),
    after: random.below(5) === 0 ? -Infinity : 4 * random.next() - 2,
  }));
}

/** Holds adjusting and restoring to a reference, bit for bit, over sizes and shards. */
export function checkAdjustments(device: Device, sizes: readonly number[]): void {
  const random = new Random(11);
  for (const size of sizes) {
    for (const firstId of [0, 1006]) {
      const rows = Array.from(
        { length: 5 },
        (_, row) => row === 1 ? [] : randomEntries(random, size, firstId),
      );
      const logits = random.normals(rows.length * size, 3);
      logits[0] = -Infinity;
      const capacity = Math.max(1, rows.flat().length - 2);
      const expected = logits.slice();
      const saved = new Float32Array(new Uint32Array(capacity).fill(UNWRITTEN).buffer);
      const { fround } = Math;
      let place = 0;
      for (const [row, entries] of rows.entries()) {
        for (const { id, before, scale, after } of entries) {
          const column = id - firstId;
          if (place < capacity && column >= 0 && column < size) {
            const x = saved[place] = logits[row * size + column];
            const sum = fround(x + fround(before));
            const scaled = fround(sum > 0 ? sum / fround(scale) : sum * fround(scale));
            expected[row * size + column] = scaled + fround(after);
          }
          place++;
        }
      }
      const actual = adjust(device, logits, rows, { firstId, capacity });
      const name = `${size} from ${firstId}`;
      assertSameBits(actual.adjusted, expected, name);
      assertSameBits(actual.saved, saved, name);
      assertSameBits(actual.restored, logits, name);
    }
  }
}

/** Holds masks to what they say, over sizes and shards that begin inside of a word. */
export function checkMasks(device: Device, sizes: readonly number[]): void {
  const random = new Random(12);
  for (const size of sizes) {
    for (const firstId of [0, 1006]) {
      // The last word is missing where there is more than one: its tokens have no bit.
      const words = Math.max(1, Math.ceil((firstId + size) / 32) - 1);
      const masks = Int32Array.from({ length: 3 * words }, () => random.below(2 ** 32) | 0);
      const maskRows = Int32Array.of(2, -1, 0, 3);
      const logits = random.normals(maskRows.length * size, 3);
      const expected = logits.map((x, i) => {
        const [row, id] = [Math.floor(i / size), firstId + i % size];
        const mask = maskRows[row];
        if (mask < 0 || mask > 2) return x;
        const word = id >> 5;
        return word < words && (masks[mask * words + word] >>> (id & 31) & 1) === 1 ? x : -Infinity;
      });
      assert(size < 40 || expected.some((x) => x === -Infinity));
      const x = new Matrix(device, maskRows.length, size, { values: logits });
      using uploaded = Tensor.allocate(device, { shape: [3, words], dtype: "i32" });
      uploaded.upload(masks);
      device.maskLogits(x.tensor, maskRows.length, {
        size,
        firstId,
        masks: uploaded,
        maskRows: vector(device, maskRows),
      });
      assertEquals([...x.read()], [...expected], `${size} from ${firstId}`);
    }
  }
}
