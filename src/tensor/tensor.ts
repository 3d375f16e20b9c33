/**
 * A tensor is a typed, shaped view of device memory.
 * @module
 */
import type { DeviceMemory } from "./device.ts";
import { type DType, dtypeBytes } from "./dtype.ts";

/** Options of {@linkcode Tensor.allocate}. */
export interface TensorOptions {
  /** Sizes, outermost first. The last dimension is contiguous. */
  readonly shape: readonly number[];
  /** Element type, `f32` when left out. */
  readonly dtype?: DType;
}

/**
 * A row-major tensor in the memory of one device. It is a plain description (address, shape,
 * type): kernels receive it together with the number of rows that are in use, so a buffer that is
 * allocated once for the largest step serves every step without a new object.
 *
 * @example
 * ```ts
 * import { openDevice, Tensor } from "@weft/weft";
 * using device = openDevice({ kind: "cpu" });
 * using x = Tensor.allocate(device, { shape: [4, 64] });
 * x.upload(new Float32Array(4 * 64).fill(1));
 * ```
 */
export class Tensor implements Disposable {
  /** Address of the first element in the device's memory. */
  readonly address: bigint;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: DType;
  /** Distance between consecutive rows (all dimensions but the first folded), in elements. */
  readonly rowStride: number;
  readonly #memory: DeviceMemory;
  readonly #owned: boolean;

  private constructor(
    memory: DeviceMemory,
    address: bigint,
    options: Required<TensorOptions> & { rowStride: number; owned: boolean },
  ) {
    this.#memory = memory;
    this.address = address;
    this.shape = options.shape;
    this.dtype = options.dtype;
    this.rowStride = options.rowStride;
    this.#owned = options.owned;
  }

  /** Allocates a tensor in a device's memory; its contents are undefined. Frees it when disposed. */
  static allocate(memory: DeviceMemory, options: TensorOptions): Tensor {
    const { shape, dtype = "f32" } = options;
    const count = elementCount(shape);
    const address = memory.allocate(Math.max(1, count) * dtypeBytes(dtype));
    return new Tensor(memory, address, {
      shape,
      dtype,
      rowStride: rowStrideOf(shape),
      owned: true,
    });
  }

  /** Describes memory that something else owns; disposing the tensor leaves it alone. */
  static view(
    memory: DeviceMemory,
    address: bigint,
    options: TensorOptions & { readonly rowStride?: number },
  ): Tensor {
    const { shape, dtype = "f32" } = options;
    const rowStride = options.rowStride ?? rowStrideOf(shape);
    return new Tensor(memory, address, { shape, dtype, rowStride, owned: false });
  }

  /** Number of elements in the shape. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** Columns `[start, start + count)` of a matrix, as a view with the same rows. */
  columns(start: number, count: number): Tensor {
    const width = this.shape[this.shape.length - 1];
    if (start < 0 || count < 0 || start + count > width) {
      throw new RangeError(
        `Cannot view columns ${start}..${start + count} as the tensor is narrower: ${width}`,
      );
    }
    return Tensor.view(this.#memory, this.address + BigInt(start * dtypeBytes(this.dtype)), {
      shape: [...this.shape.slice(0, -1), count],
      dtype: this.dtype,
      rowStride: this.rowStride,
    });
  }

  /** Copies `source` to the start of a contiguous tensor. */
  upload(source: ArrayBufferView): void {
    this.#check(source);
    this.#memory.upload(this.address, source);
  }

  /** Copies the start of a contiguous tensor into `destination` after pending work has finished. */
  download<T extends ArrayBufferView>(destination: T): T {
    this.#check(destination);
    this.#memory.download(destination, this.address);
    return destination;
  }

  #check(view: ArrayBufferView): void {
    const bytes = this.size * dtypeBytes(this.dtype);
    if (view.byteLength > bytes) {
      throw new RangeError(
        `Cannot copy ${view.byteLength} bytes as the tensor [${this.shape}] is smaller: ${bytes} bytes`,
      );
    }
  }

  /** Frees the memory if this tensor owns it. */
  [Symbol.dispose](): void {
    if (this.#owned) this.#memory.free(this.address);
  }
}

function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new RangeError(`Cannot shape a tensor as a size is not a count: [${shape}]`);
    }
    count *= size;
  }
  return count;
}

function rowStrideOf(shape: readonly number[]): number {
  return elementCount(shape.slice(1));
}
