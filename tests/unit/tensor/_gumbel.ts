import type { Device } from "../../../src/tensor/device.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { Matrix } from "./_matrix.ts";
import { philox } from "./_philox.ts";
import type { Random } from "./_random.ts";

/** What one row asks of a draw. */
export interface Row {
  readonly temperature: number;
  readonly seed: bigint;
  readonly choice: number;
  readonly position: number;
  readonly threshold: number;
}

/** Something to ask. */
export const ROW: Row = {
  temperature: 1,
  seed: 0x123456789abcdef0n,
  choice: 0,
  position: 17,
  threshold: -Infinity,
};

/** Result of a draw. */
export interface Draws {
  readonly values: Float32Array;
  readonly ids: Int32Array;
}

/** Draws once for each of `rows` from its row of `logits`, `[rows, size]`. */
export function draw(
  device: Device,
  logits: Float32Array,
  rows: readonly Row[],
  shard: { firstId?: number } = {},
): Draws {
  const size = logits.length / rows.length;
  using resources = new DisposableStack();
  const upload = (values: Float32Array | Int32Array, shape: number[]) => {
    const dtype = values instanceof Int32Array ? "i32" : "f32";
    const tensor = resources.use(Tensor.allocate(device, { shape, dtype }));
    tensor.upload(values);
    return tensor;
  };
  const count = rows.length;
  const values = upload(new Float32Array(count), [count]);
  const ids = upload(new Int32Array(count), [count]);
  device.gumbelArgmax(
    values,
    ids,
    new Matrix(device, count, size, { values: logits }).tensor,
    count,
    {
      temperatures: upload(Float32Array.from(rows, (row) => row.temperature), [count]),
      seeds: upload(
        Int32Array.from(
          rows.flatMap(({ seed }) => [Number(seed & 0xffffffffn), Number(seed >> 32n)]),
        ),
        [count, 2],
      ),
      choices: upload(Int32Array.from(rows, (row) => row.choice), [count]),
      positions: upload(Int32Array.from(rows, (row) => row.position), [count]),
      thresholds: upload(Float32Array.from(rows, (row) => row.threshold), [count]),
      size,
      firstId: shard.firstId ?? 0,
    },
  );
  return {
    values: values.download(new Float32Array(count)),
    ids: ids.download(new Int32Array(count)),
  };
}

/** A row with another seed, choice and position. */
export function randomRow(random: Random): Row {
  return {
    ...ROW,
    seed: BigInt(random.below(2 ** 32)) << 32n | BigInt(random.below(2 ** 32)),
    choice: random.below(8),
    position: random.below(2 ** 20),
  };
}

/** The Gumbel variable of a token, in float64. */
export function noiseOf({ seed, position, choice }: Row, id: number): number {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const word = philox([Math.floor(id / 4), position, choice, 0], key)[id % 4];
  return -Math.log(-Math.log1p(-(word + 0.5) / 2 ** 32));
}
