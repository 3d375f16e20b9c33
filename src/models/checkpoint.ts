/**
 * A checkpoint's tensors, whatever files they lie in.
 * @module
 */
import type { HostTensor, LinearSize, WeightSource } from "../layers/weight_source.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import type { QuantizedMatrix } from "../tensor/linear_kernels.ts";
import { readCheckpointFiles, type StoredTensor } from "./checkpoint_files.ts";
import { ModelLoadError } from "./errors.ts";
import type { TensorNaming } from "./family.ts";
import type { ModelConfig } from "./model_config.ts";
import { parameterShapes } from "./parameter_shapes.ts";
import type { QuantizationConfig } from "./quantization_config.ts";
import {
  holdsValues,
  type LayerTensor,
  type LayerTensors,
  layerTensors,
  type NamedLayer,
  quantizedMatrix,
  valuesName,
} from "./quantized_layer.ts";
import { familyOf } from "./registry.ts";
import { readTensor, TensorMemory } from "./tensor_memory.ts";

/** A tensor where it lies in memory: to be read only, and valid until the checkpoint is disposed. */
export interface CheckpointTensor extends HostTensor {
  /** Type of the elements. */
  readonly dtype: WeightDType;
}

/** Names as they are, nothing ignorable. */
const PLAIN_NAMING: TensorNaming = {
  canonical: (stored) => stored,
  isIgnorable: () => false,
};

/** Stored types that a layer can read. */
const WEIGHT_DTYPES: Readonly<Record<string, WeightDType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** Options of {@linkcode Checkpoint.open}. */
export interface CheckpointOptions {
  /**
   * Whether files are mapped into memory, which takes the native library. Otherwise tensors are read when
   * they are asked for, and kept until {@linkcode Checkpoint.release}. Default true.
   */
  readonly mapped?: boolean;
}

/**
 * The weights of a model folder. Opening it reads and checks the headers of all files; a file is
 * mapped when a tensor of it is first asked for, and its pages are read when they are first touched.
 *
 * @example
 * ```ts
 * import { Checkpoint } from "@weft/weft";
 * using checkpoint = Checkpoint.open("models/demo");
 * const { dtype } = checkpoint.tensor("model.norm.weight", [256]);
 * console.log(dtype); // bf16
 * ```
 */
export class Checkpoint implements WeightSource, Disposable {
  /** The model folder. */
  readonly folder: string;
  readonly #tensors = new Map<string, StoredTensor>();
  readonly #naming: TensorNaming;
  readonly #quantization: QuantizationConfig | null;
  readonly #memory: TensorMemory;

  private constructor(folder: string, config: ModelConfig | null, mapped: boolean) {
    const naming = config ? familyOf(config).naming(config) : PLAIN_NAMING;
    this.folder = folder;
    this.#naming = naming;
    this.#memory = new TensorMemory({ mapped });
    this.#quantization = config?.quantization ?? null;
    for (const [stored, tensor] of readCheckpointFiles(folder)) {
      const name = naming.canonical(stored);
      const other = this.#tensors.get(name);
      if (other) {
        throw new ModelLoadError(
          `Cannot load tensor ${stored} of ${tensor.file} as ${other.name} is the same parameter`,
          { file: tensor.file, tensor: stored },
        );
      }
      this.#tensors.set(name, tensor);
    }
  }

  /**
   * Opens the checkpoint in `folder`. With `config`, names follow its family (see `ModelFamily.naming`)
   * and layers its quantisation; without, all is as stored. Throws ModelLoadError when a file is missing or malformed.
   */
  static open(
    folder: string,
    config?: ModelConfig,
    options: CheckpointOptions = {},
  ): Checkpoint {
    return new Checkpoint(folder, config ?? null, options.mapped ?? true);
  }

  /** Names of all tensors. */
  names(): string[] {
    return [...this.#tensors.keys()];
  }

  /** Whether a tensor is there. */
  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /**
   * The tensor `name`, mapped into memory. Throws ModelLoadError naming file and tensor when it is
   * absent, has another shape, or is not f32, f16 or bf16.
   */
  tensor(name: string, shape: readonly number[]): CheckpointTensor {
    const stored = this.#find(denseTensor(name, shape))!;
    const dtype = WEIGHT_DTYPES[stored.dtype];
    return { ...this.#memory.place(name, stored), dtype, shape: stored.shape };
  }

  /** Whether the linear layer `name` is stored quantised. */
  isQuantized(name: string): boolean {
    const quantization = this.#quantization;
    if (!quantization) return false;
    const values = this.#tensors.get(valuesName(quantization, name));
    return values !== undefined && holdsValues(quantization, values.dtype);
  }

  /**
   * The weight of the linear layer `name` where it is stored quantised, else null; mapped into memory.
   * Throws ModelLoadError naming file and tensor for one that is absent, has another shape or type, or
   * assigns an input to a group that there is not.
   */
  quantized(name: string, size: LinearSize): QuantizedMatrix | null {
    if (!this.#quantization || !this.isQuantized(name)) return null;
    const layer = { name, ...size };
    this.#layerTensors(layer);
    return quantizedMatrix(this.#quantization, layer, {
      find: (tensor) => {
        const stored = this.#find(tensor);
        if (stored === null) return null;
        const { address, mapped } = this.#memory.place(tensor.name, stored);
        return { address, dtype: stored.dtype, mapped };
      },
      refuse: (tensor, reason) => refuse(this.#tensors.get(tensor.name)!, reason),
    });
  }

  /**
   * Checks, from the headers, that the checkpoint is the one that `config` describes: every
   * parameter there with its shape and a type that can be read, and no tensor that nothing would read.
   * Throws ModelLoadError naming file and tensor.
   */
  verify(config: ModelConfig): void {
    const expected = new Set<string>();
    for (const { name, shape, layer } of parameterShapes(config)) {
      const tensors = layer && this.isQuantized(layer.name)
        ? Object.values(this.#layerTensors(layer)).filter((tensor) => tensor !== null)
        : [denseTensor(name, shape)];
      for (const tensor of tensors) {
        this.#find(tensor);
        expected.add(tensor.name);
      }
    }
    for (const [name, { file }] of this.#tensors) {
      if (!expected.has(name) && !this.#naming.isIgnorable(name) && !this.#isZeroBias(name)) {
        throw new ModelLoadError(
          `Cannot load tensor ${name} of ${file} as config.json announces no such parameter`,
          { file, tensor: name },
        );
      }
    }
  }

  /** Bytes of all tensors that are not ignorable. */
  get byteLength(): number {
    let total = 0;
    for (const [name, { byteLength }] of this.#tensors) {
      if (!this.#naming.isIgnorable(name)) total += byteLength;
    }
    return total;
  }

  /** Which files these are, as the system tells them apart: another text when one was written or replaced. */
  get identity(): string {
    const files = [...new Set([...this.#tensors.values()].map(({ file }) => file))].sort();
    return JSON.stringify(files.map((file) => {
      const { dev, ino, size, mtime, ctime } = Deno.statSync(file);
      return [dev, ino, size, mtime, ctime];
    }));
  }

  /** The weight type that most bytes have, null when none has one. */
  get dtype(): WeightDType | null {
    const bytes = new Map<WeightDType, number>();
    for (const { dtype, byteLength } of this.#tensors.values()) {
      if (!Object.hasOwn(WEIGHT_DTYPES, dtype)) continue;
      const type = WEIGHT_DTYPES[dtype];
      bytes.set(type, (bytes.get(type) ?? 0) + byteLength);
    }
    return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
  }

  /** Early programs store biases of zeros with every quantised layer. */
  #isZeroBias(name: string): boolean {
    const [layer, suffix] = [name.slice(0, -".bias".length), name.slice(-".bias".length)];
    if (suffix !== ".bias" || !this.isQuantized(layer)) return false;
    const bias = this.#tensors.get(name)!;
    return readTensor(bias).every((byte) => byte === 0);
  }

  /** The tensors of a quantised layer; throws ModelLoadError when its size cannot be packed. */
  #layerTensors(layer: NamedLayer): LayerTensors {
    const quantization = this.#quantization!;
    try {
      return layerTensors(quantization, layer);
    } catch (cause) {
      const { file, name } = this.#tensors.get(valuesName(quantization, layer.name))!;
      throw new ModelLoadError(`${(cause as Error).message} (${name} of ${file})`, {
        file,
        tensor: name,
        cause,
      });
    }
  }

  /** The tensor as it must be; null when it may be missing and is. */
  #find({ name, shapes, dtypes, optional }: LayerTensor): StoredTensor | null {
    const stored = this.#tensors.get(name);
    if (!stored) {
      if (optional) return null;
      throw new ModelLoadError(`Cannot load tensor ${name} of ${this.folder} as it is missing`, {
        file: this.folder,
        tensor: name,
      });
    }
    const found = stored.shape.join(", ");
    if (!shapes.some((shape) => shape.join(", ") === found)) {
      const allowed = shapes.map((shape) => `[${shape.join(", ")}]`).join(" or ");
      return refuse(stored, `its shape must be ${allowed}: it is [${found}]`);
    }
    if (!dtypes.includes(stored.dtype)) {
      return refuse(stored, `its type must be ${oneOf(dtypes)}: it is ${stored.dtype}`);
    }
    return stored;
  }

  /**
   * Gives memory back. Tensors that were read are forgotten: their addresses are invalid from here on. Those
   * that are mapped stay, and are read again when they are touched.
   */
  release(): void {
    this.#memory.release();
  }

  /** Unmaps the files; addresses of tensors are invalid from here on. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

/** A tensor of floats that must be there. */
function denseTensor(name: string, shape: readonly number[]): LayerTensor {
  return { name, dtypes: Object.keys(WEIGHT_DTYPES), shapes: [shape], optional: false };
}

function refuse(stored: StoredTensor, reason: string): never {
  throw new ModelLoadError(`Cannot load tensor ${stored.name} of ${stored.file} as ${reason}`, {
    file: stored.file,
    tensor: stored.name,
  });
}

function oneOf(names: readonly string[]): string {
  return [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" or ");
}
