/**
 * Where layers take their weights from, and how they cut out their own slices.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import type { Device } from "../tensor/device.ts";
import {
  type HostMatrix,
  type HostVector,
  isQuantized,
  type LinearWeight,
  type QuantizedMatrix,
  weightDtype,
  type WeightOptions,
  type WeightPart,
} from "../tensor/linear_kernels.ts";
import { type DType, dtypeBytes, type KvDType, type WeightDType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";

/** A named tensor in host memory, row-major and contiguous. */
export interface HostTensor {
  /** Host address of the first element. */
  readonly address: bigint;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Whether it lies in a mapped file (`HostMatrix.mapped`). */
  readonly mapped?: boolean;
}

/** Size of a whole linear layer. */
export interface LinearSize {
  /** Columns of the weight. */
  readonly inFeatures: number;
  /** Rows of the weight. */
  readonly outFeatures: number;
  /** Whether a dense weight is stored as `[inFeatures, outFeatures]`. */
  readonly transposed?: boolean;
}

/** Named tensors; a checkpoint is one, {@linkcode MemoryWeights} another. */
export interface WeightSource {
  /** Whether the tensor exists. */
  has(name: string): boolean;
  /** The tensor; throws an error naming it when it is absent or has another shape. */
  tensor(name: string, shape: readonly number[]): HostTensor;
  /**
   * The whole weight of the linear layer `name` where it is stored quantised, else null; throws as
   * `tensor` does. A source without it holds dense weights only.
   */
  quantized?(name: string, size: LinearSize): QuantizedMatrix | null;
}

/** What every layer is built with: where it runs, with whom it shares the work, and its weights. */
export interface LayerContext {
  /** Device that holds weights and activations. */
  readonly device: Device;
  /** Ranks that share each layer. */
  readonly tensorParallel: Communicator;
  /** Named weights. */
  readonly weights: WeightSource;
  /** Storage format of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Quantises linear weights while they are loaded. */
  readonly quantization?: WeightOptions["quantization"];
  /** Type of what `Device.activationDtype` says is kept in it; `f32` when left out. */
  readonly activationDtype?: WeightDType;
  /** How keys and values are kept; as activations are when left out. */
  readonly kvCacheDtype?: KvDType;
  /** Largest number of rows (tokens) of a step. */
  readonly maxRows: number;
}

/**
 * Weights that lie in JavaScript arrays, for tests and examples.
 *
 * @example
 * ```ts
 * import { MemoryWeights } from "@weft/weft";
 * const weights = new MemoryWeights({
 *   "up.weight": { shape: [2, 3], data: new Float32Array([1, 2, 3, 4, 5, 6]) },
 * });
 * console.log(weights.has("up.weight")); // true
 * ```
 */
export class MemoryWeights implements WeightSource {
  readonly #tensors: Map<string, { shape: readonly number[]; data: Float32Array<ArrayBuffer> }>;

  /** Names each array; `data` must hold as many elements as `shape` says. */
  constructor(
    tensors: Readonly<
      Record<string, { shape: readonly number[]; data: Float32Array<ArrayBuffer> }>
    >,
  ) {
    this.#tensors = new Map(Object.entries(tensors));
    for (const [name, { shape, data }] of this.#tensors) {
      const size = shape.reduce((product, n) => product * n, 1);
      if (size !== data.length) {
        throw new RangeError(
          `Cannot hold ${name} as [${shape}] needs ${size} values: got ${data.length}`,
        );
      }
    }
  }

  /** Whether the tensor exists. */
  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** The tensor; its memory lives as long as this object. */
  tensor(name: string, shape: readonly number[]): HostTensor {
    const found = this.#tensors.get(name);
    if (!found) throw new RangeError(`Cannot find weight: ${name}`);
    if (found.shape.join() !== shape.join()) {
      throw new RangeError(
        `Cannot use ${name} as [${shape}] is expected: shape is [${found.shape}]`,
      );
    }
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(found.data));
    return { address, dtype: "f32", shape };
  }
}

/** Output and input features of a weight; all of them where nothing is said. */
export interface WeightSlice {
  /** First output feature. */
  readonly firstRow?: number;
  /** Output features. */
  readonly rows?: number;
  /** First input feature. */
  readonly firstColumn?: number;
  /** Input features. */
  readonly columns?: number;
}

/** A slice of an `[outFeatures, inFeatures]` weight, or of one stored the other way (GPT-2's Conv1D). */
export function matrixSlice(
  tensor: HostTensor,
  slice: WeightSlice,
  { transposed = false }: { readonly transposed?: boolean } = {},
): HostMatrix {
  const [storedRows, rowStride] = tensor.shape;
  const [outFeatures, inFeatures] = transposed ? [rowStride, storedRows] : [storedRows, rowStride];
  const { firstRow = 0, rows = outFeatures, firstColumn = 0, columns = inFeatures } = slice;
  const first = transposed
    ? firstColumn * rowStride + firstRow
    : firstRow * rowStride + firstColumn;
  const address = tensor.address + BigInt(first * dtypeBytes(tensor.dtype));
  const { dtype, mapped } = tensor;
  return { address, dtype, rows, columns, rowStride, transposed, mapped };
}

/** Elements `[start, start + count)` of a vector. */
export function vectorSlice(tensor: HostTensor, start: number, count: number): HostVector {
  const address = tensor.address + BigInt(start * dtypeBytes(tensor.dtype));
  return { address, dtype: tensor.dtype, length: count };
}

/** Makes a device weight of parts in the context's format. */
export function loadLinear(
  context: LayerContext,
  parts: readonly WeightPart[],
  options: WeightOptions = {},
): LinearWeight {
  const format = context.format ?? formatOf(parts[0], options);
  return context.device.linearWeight(parts, format, options);
}

/** The type in which a weight is multiplied when nothing is asked for. */
function formatOf(part: WeightPart, { quantization }: WeightOptions): WeightDType {
  const quantized = isQuantized(part);
  const stored = weightDtype(quantized ? part.scales.dtype : part.dtype);
  // Who asks for integers and not for f32 wants products of integers: these round the activations.
  return stored === "f32" && (quantized || quantization !== undefined) ? "bf16" : stored;
}

/** Copies slices to the device as one `f32` vector. */
export function loadVector(context: LayerContext, parts: readonly HostVector[]): Tensor {
  if (parts.length === 1) return context.device.vector(parts[0]);
  const { device } = context;
  const whole = Tensor.allocate(device, {
    shape: [parts.reduce((sum, part) => sum + part.length, 0)],
  });
  let offset = 0;
  for (const part of parts) {
    using piece = device.vector(part);
    device.copy(whole.address + BigInt(offset * 4), piece.address, part.length * 4);
    offset += part.length;
  }
  return whole;
}
