/**
 * What the linear layers of a model read while it runs on a text.
 * @module
 */
import { createDeviceMesh } from "../../distributed/device_mesh.ts";
import { SingleRankCommunicator } from "../../distributed/single_rank_communicator.ts";
import type { WeightSource } from "../../layers/weight_source.ts";
import { KV_BLOCK_SIZE } from "../../tensor/attention_kernels.ts";
import type { Device } from "../../tensor/device.ts";
import { isQuantized, type LinearWeight } from "../../tensor/linear_kernels.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { loadModel } from "../load_model.ts";
import type { ModelConfig } from "../model_config.ts";

/** Inputs of one linear layer. */
export interface LayerInputs {
  /** Rows that were read, evenly picked: `[rows, inFeatures]`. */
  readonly sample: Float32Array<ArrayBuffer>;
  /** Number of rows in the sample; 0 for an expert that no token visited. */
  readonly rows: number;
  /** Mean magnitude of each feature, over all rows. */
  readonly magnitudes: Float32Array;
  /** Mean square of each feature, over all rows. */
  readonly squares: Float32Array;
}

/** Rows that are kept of an input. */
const SAMPLE_ROWS = 256;

/**
 * Runs the model on `tokenIds`, one sequence, and gives what each linear layer read, by the layer's name.
 * `device` is a CPU; it computes in f32. Layers of one input share their entry.
 */
export function captureLayerInputs(
  config: ModelConfig,
  options: {
    readonly device: Device;
    readonly weights: WeightSource;
    readonly tokenIds: readonly number[];
  },
): Map<string, LayerInputs> {
  const { device, tokenIds } = options;
  const names = new Map<bigint, string>();
  const observer = new InputObserver(device, names);
  const weights: WeightSource = {
    has: (name) => options.weights.has(name),
    tensor(name, shape) {
      const tensor = options.weights.tensor(name, shape);
      names.set(tensor.address, name.replace(/\.weight$/, ""));
      return tensor;
    },
  };
  using stack = new DisposableStack();
  const tokens = tokenIds.length;
  using mesh = createDeviceMesh(new SingleRankCommunicator({ copy: device.copy }));
  using model = loadModel({
    config,
    weights,
    device: observer.device,
    mesh,
    format: "f32",
    maxModelLen: tokens,
    maxRows: tokens,
    maxLogitRows: 1,
  });
  const blocks = Math.ceil(tokens / KV_BLOCK_SIZE);
  model.allocateCache(blocks);
  const integers = (values: Iterable<number>, shape?: readonly number[]): Tensor => {
    const data = Int32Array.from(values);
    const tensor = Tensor.allocate(device, { shape: shape ?? [data.length], dtype: "i32" });
    tensor.upload(data);
    return stack.use(tensor);
  };
  const places = Array.from(tokenIds, (_, place) => place);
  model.forward({
    tokens,
    sequences: 1,
    ids: integers(tokenIds),
    tensors: {
      positions: integers(places),
      slotMapping: integers(places),
      queryStarts: integers([0, tokens]),
      contextStarts: integers([0]),
      tableRows: integers([0]),
      blockTables: integers(Array.from({ length: blocks }, (_, block) => block), [1, blocks]),
    },
  });
  return observer.inputs;
}

/** A device that looks at the inputs of products before it computes them. */
class InputObserver {
  /** Behaves as the one that it was made of. */
  readonly device: Device;
  /** What was seen, by the name of the layer. */
  readonly inputs = new Map<string, LayerInputs>();
  readonly #layers = new Map<LinearWeight, readonly string[]>();

  /** `names`: the layer of each weight, by the address of its stored tensor. */
  constructor(device: Device, names: ReadonlyMap<bigint, string>) {
    this.device = {
      ...device,
      linearWeight: (parts, format, weightOptions) => {
        const weight = device.linearWeight(parts, format, weightOptions);
        const addresses = parts.map((part) => isQuantized(part) ? part.values : part.address);
        this.#layers.set(weight, addresses.flatMap((address) => names.get(address) ?? []));
        return weight;
      },
      linear: (out, x, weight, rows, linearOptions) => {
        this.#observe(weight, readRows(device, x, rows));
        device.linear(out, x, weight, rows, linearOptions);
      },
      gatedLinear: (out, x, weight, rows, gatedOptions) => {
        this.#observe(weight, readRows(device, x, rows));
        device.gatedLinear(out, x, weight, rows, gatedOptions);
      },
      groupedLinear: (out, x, weights, order, offsets, groupedOptions) => {
        const { pairs, inputDivisor } = groupedOptions;
        const pairOf = order.download(new Int32Array(order.size));
        const begins = offsets.download(new Int32Array(weights.length + 1));
        const rows = readRows(device, x, inputDivisor ? Math.ceil(pairs / inputDivisor) : pairs);
        weights.forEach((weight, expert) => {
          const visits = Array.from({ length: begins[expert + 1] - begins[expert] }, (_, i) => {
            const place = begins[expert] + i;
            return rows[inputDivisor ? Math.floor(pairOf[place] / inputDivisor) : place];
          });
          this.#observe(weight, visits);
        });
        device.groupedLinear(out, x, weights, order, offsets, groupedOptions);
      },
    };
  }

  #observe(weight: LinearWeight, rows: readonly Float32Array[]): void {
    const inputs = summarize(rows, weight.inFeatures);
    for (const name of this.#layers.get(weight) ?? []) this.inputs.set(name, inputs);
  }
}

function readRows(device: Device, x: Tensor, rows: number): Float32Array[] {
  return Array.from({ length: rows }, (_, row) => {
    const values = new Float32Array(x.shape[x.shape.length - 1]);
    device.download(values, x.address + BigInt(row * x.rowStride * 4));
    return values;
  });
}

function summarize(rows: readonly Float32Array[], width: number): LayerInputs {
  const magnitudes = new Float32Array(width);
  const squares = new Float32Array(width);
  for (const row of rows) {
    for (let i = 0; i < width; i++) {
      magnitudes[i] += Math.abs(row[i]) / rows.length;
      squares[i] += row[i] * row[i] / rows.length;
    }
  }
  const kept = Math.min(SAMPLE_ROWS, rows.length);
  const sample = new Float32Array(kept * width);
  for (let i = 0; i < kept; i++) {
    sample.set(rows[Math.floor(i * rows.length / kept)].subarray(0, width), i * width);
  }
  return { sample, rows: kept, magnitudes, squares };
}
