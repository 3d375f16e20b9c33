/**
 * Weights for kernels that cannot read the host's memory.
 * @module
 */
import type { DType } from "../dtype.ts";
import { dtypeBytes } from "../dtype.ts";
import {
  type HostMatrix,
  isQuantized,
  type LinearKernels,
  type LinearWeight,
  type QuantizedMatrix,
  type WeightPart,
} from "../linear_kernels.ts";
import type { CpuMemory } from "./memory.ts";
import { keepsRows, staysInPlace } from "./stored_rows.ts";

/** `kernels` with weights whose parts are copied from the host first; copies live as long as they are read. */
export function copiedWeights(kernels: LinearKernels, memory: CpuMemory): LinearKernels {
  return {
    ...kernels,

    linearWeight(parts, format, options) {
      const copies = new HostCopies(memory);
      try {
        const copied = parts.map((part) => copies.part(part));
        const weight = kernels.linearWeight(copied, format, options);
        const stays = (part: WeightPart) => !isQuantized(part) && staysInPlace(part, format);
        if (keepsRows(format, options) && parts.some(stays)) {
          copies.keepWith(weight);
        } else {
          copies.free();
        }
        return weight;
      } catch (error) {
        copies.free();
        throw error;
      }
    },

    vector(source) {
      const copies = new HostCopies(memory);
      try {
        const address = copies.copy(source.address, source.length * dtypeBytes(source.dtype));
        return kernels.vector({ ...source, address });
      } finally {
        copies.free();
      }
    },
  };
}

/** Copies of host memory in the kernels' memory. */
class HostCopies {
  readonly #memory: CpuMemory;
  readonly #addresses: bigint[] = [];

  constructor(memory: CpuMemory) {
    this.#memory = memory;
  }

  /** A part whose addresses are those of copies. */
  part(part: WeightPart): WeightPart {
    return isQuantized(part) ? this.#quantized(part) : this.#dense(part);
  }

  /** A copy of `byteLength` bytes of the host. */
  copy(source: bigint, byteLength: number): bigint {
    const address = this.#allocate(byteLength);
    this.#memory.upload(address, hostBytes(source, byteLength));
    return address;
  }

  free(): void {
    for (const address of this.#addresses.splice(0)) this.#memory.free(address);
  }

  /** Frees the copies when `weight` is. */
  keepWith(weight: LinearWeight): void {
    const dispose = weight[Symbol.dispose].bind(weight);
    weight[Symbol.dispose] = () => {
      dispose();
      this.free();
    };
  }

  /** Only the slice, row behind row. */
  #dense(part: HostMatrix): HostMatrix {
    const [stored, width] = part.transposed ? [part.columns, part.rows] : [part.rows, part.columns];
    const element = dtypeBytes(part.dtype as DType);
    const rowBytes = width * element;
    const address = this.#allocate(stored * rowBytes);
    if (part.rowStride === width) {
      this.#memory.upload(address, hostBytes(part.address, stored * rowBytes));
    } else {
      for (let row = 0; row < stored; row++) {
        const source = part.address + BigInt(row * part.rowStride * element);
        this.#memory.upload(address + BigInt(row * rowBytes), hostBytes(source, rowBytes));
      }
    }
    return { ...part, address, rowStride: width, mapped: false };
  }

  /** Whole stored tensors: what a slice of packed integers touches depends on the packing. */
  #quantized(part: QuantizedMatrix): QuantizedMatrix {
    const bits = part.dtype === "int8" ? 8 : 4;
    const { storedRows, storedColumns, groupSize, groupOfInput, scales, zeros } = part;
    const groups = Math.ceil(storedColumns / groupSize);
    const scaleBytes = groups * storedRows * dtypeBytes(scales.dtype);
    const zeroBytes = groups * storedRows * bits / 8;
    return {
      ...part,
      values: this.copy(part.values, storedRows * storedColumns * bits / 8),
      scales: { ...scales, address: this.copy(scales.address, scaleBytes) },
      zeros: zeros === null ? null : this.copy(zeros, zeroBytes),
      groupOfInput: groupOfInput === null ? null : this.copy(groupOfInput, 4 * storedColumns),
      mapped: false,
    };
  }

  #allocate(byteLength: number): bigint {
    const address = this.#memory.allocate(byteLength);
    this.#addresses.push(address);
    return address;
  }
}

function hostBytes(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  if (byteLength === 0) return new Uint8Array(0);
  const pointer = Deno.UnsafePointer.create(address);
  if (pointer === null) throw new RangeError("Cannot copy a weight as its address is null");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
}
