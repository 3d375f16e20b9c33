/**
 * The configuration of kernel launches, in memory that C reads.
 * @module
 */
import { addressOf } from "./c_declarations.ts";
import { CUDA_LAUNCH_ATTRIBUTE, CUDA_LAUNCH_CONFIG, CudaLaunchAttribute } from "./cudart_types.ts";

const { offsets, byteLength } = CUDA_LAUNCH_CONFIG;

/** A `cudaLaunchConfig_t` with its attributes; written again for each launch, without allocation. */
export class CudaLaunchConfig {
  /** Address for `cudaLaunchKernelExC`; valid as long as this object is. */
  readonly address: bigint;
  readonly #integers: Uint32Array;
  readonly #words: BigUint64Array;

  /**
   * `programmaticStreamSerialization` lets a kernel start before the one ahead of it in the stream has
   * ended; it must then wait for it by itself (griddepcontrol.wait).
   */
  constructor(options: { readonly programmaticStreamSerialization: boolean }) {
    const buffer = new ArrayBuffer(byteLength + CUDA_LAUNCH_ATTRIBUTE.byteLength);
    this.#integers = new Uint32Array(buffer);
    this.#words = new BigUint64Array(buffer);
    this.address = addressOf(buffer);
    if (options.programmaticStreamSerialization) {
      const attribute = byteLength;
      const { id, val } = CUDA_LAUNCH_ATTRIBUTE.offsets;
      this.#integers[(attribute + id) / 4] =
        CudaLaunchAttribute.cudaLaunchAttributeProgrammaticStreamSerialization;
      this.#integers[(attribute + val) / 4] = 1;
      this.#words[offsets.attrs / 8] = this.address + BigInt(attribute);
      this.#integers[offsets.numAttrs / 4] = 1;
    }
  }

  /** Blocks of the grid. */
  setGrid(x: number, y: number, z: number): void {
    const at = offsets.gridDim / 4;
    this.#integers[at] = x;
    this.#integers[at + 1] = y;
    this.#integers[at + 2] = z;
  }

  /** Threads of a block. */
  setBlock(x: number, y: number, z: number): void {
    const at = offsets.blockDim / 4;
    this.#integers[at] = x;
    this.#integers[at + 1] = y;
    this.#integers[at + 2] = z;
  }

  /** Bytes of dynamic shared memory of a block. */
  setDynamicSharedBytes(byteLength: number): void {
    // Less than 2^32, so the upper half of the 64-bit field stays 0.
    this.#integers[offsets.dynamicSmemBytes / 4] = byteLength;
  }

  /** The stream of the launch. */
  setStream(stream: bigint): void {
    this.#words[offsets.stream / 8] = stream;
  }
}
