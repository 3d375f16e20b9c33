/**
 * CUDA kernels and how they are launched.
 * @module
 */
import { addressOf } from "../../native/c_declarations.ts";
import { CudaLaunchConfig } from "../../native/cuda_launch_config.ts";
import type { Cudart } from "../../native/cudart.ts";

/** Type of a kernel's parameter: a device address, or a 32-bit number. */
export type KernelParameter = "pointer" | "i32" | "u32" | "f32";

/** How a launch is divided. */
export interface LaunchShape {
  /** Blocks along x, y and z; y and z are 1 when left out. */
  readonly grid: readonly [x: number, y?: number, z?: number];
  /** Threads of a block, a multiple of 32 up to 1024. */
  readonly threads: number;
  /** Bytes of dynamic shared memory of a block; 0 when left out. */
  readonly sharedBytes?: number;
}

const MAX_GRID = [0x7fffffff, 65535, 65535] as const;
const MAX_THREADS = 1024;
const WARP_SIZE = 32;
const PARAMETER_BYTES = 8;

/**
 * One kernel with memory for its arguments, so that a launch allocates nothing. With `startsEarly`, each
 * launch may start before the kernel ahead of it has ended, and waits for that one by itself (`pdl_wait`).
 */
export class CudaKernel {
  readonly #cudart: Cudart;
  readonly #name: string;
  readonly #kernel: bigint;
  readonly #maxSharedBytes: number;
  readonly #parameters: readonly KernelParameter[];
  readonly #config: CudaLaunchConfig;
  readonly #arguments: DataView;
  readonly #pointers: BigUint64Array<ArrayBuffer>;
  readonly #pointersAddress: bigint;

  /** Prepares launches of `kernel` on `stream`. */
  constructor(
    cudart: Cudart,
    options: {
      readonly name: string;
      readonly kernel: bigint;
      readonly stream: bigint;
      readonly parameters: readonly KernelParameter[];
      readonly maxSharedBytes: number;
      readonly startsEarly: boolean;
    },
  ) {
    const { name, kernel, stream, parameters, maxSharedBytes, startsEarly } = options;
    this.#cudart = cudart;
    this.#name = name;
    this.#kernel = kernel;
    this.#parameters = parameters;
    this.#maxSharedBytes = maxSharedBytes;
    this.#config = new CudaLaunchConfig({ programmaticStreamSerialization: startsEarly });
    this.#config.setStream(stream);
    const memory = new ArrayBuffer(Math.max(1, parameters.length) * PARAMETER_BYTES);
    const address = addressOf(memory);
    this.#arguments = new DataView(memory);
    this.#pointers = BigUint64Array.from(
      parameters,
      (_, i) => address + BigInt(i * PARAMETER_BYTES),
    );
    this.#pointersAddress = parameters.length === 0 ? 0n : addressOf(this.#pointers);
  }

  /**
   * Queues the kernel; an empty grid does nothing. `values` in the kernel's order: a bigint for a
   * pointer, else a number. Throws RangeError for a number out of range, NativeError when CUDA refuses.
   */
  launch(shape: LaunchShape, values: readonly (bigint | number)[]): void {
    const { grid, threads, sharedBytes = 0 } = shape;
    const [x, y = 1, z = 1] = grid;
    if (x === 0 || y === 0 || z === 0) return;
    this.#check("grid x", x, MAX_GRID[0]);
    this.#check("grid y", y, MAX_GRID[1]);
    this.#check("grid z", z, MAX_GRID[2]);
    this.#check("threads", threads, MAX_THREADS);
    this.#check("sharedBytes", sharedBytes, this.#maxSharedBytes);
    if (threads % WARP_SIZE !== 0) {
      throw new RangeError(
        `Cannot launch ${this.#name} as threads must be a multiple of ${WARP_SIZE}: current value is ${threads}`,
      );
    }
    this.#write(values);
    this.#config.setGrid(x, y, z);
    this.#config.setBlock(threads, 1, 1);
    this.#config.setDynamicSharedBytes(sharedBytes);
    this.#cudart.launchKernelExC(this.#config.address, this.#kernel, this.#pointersAddress);
  }

  #write(values: readonly (bigint | number)[]): void {
    const parameters = this.#parameters;
    if (values.length !== parameters.length) {
      throw new RangeError(
        `Cannot launch ${this.#name} as it takes ${parameters.length} arguments: got ${values.length}`,
      );
    }
    for (let i = 0; i < parameters.length; i++) {
      const value = values[i];
      const at = i * PARAMETER_BYTES;
      if (parameters[i] === "pointer" && typeof value === "bigint") {
        this.#arguments.setBigUint64(at, value, true);
      } else if (parameters[i] === "f32" && typeof value === "number") {
        this.#arguments.setFloat32(at, value, true);
      } else if (parameters[i] === "i32" && (value as number | 0) === value) {
        this.#arguments.setInt32(at, value, true);
      } else if (parameters[i] === "u32" && (value as number) >>> 0 === value) {
        this.#arguments.setUint32(at, value, true);
      } else {
        throw new RangeError(
          `Cannot launch ${this.#name} as argument ${i} must be a ${parameters[i]}: it is ${value}`,
        );
      }
    }
  }

  #check(name: string, value: number, maximum: number): void {
    if (Number.isInteger(value) && value >= 0 && value <= maximum) return;
    throw new RangeError(
      `Cannot launch ${this.#name} as ${name} must be an integer from 0 to ${maximum}: current value is ${value}`,
    );
  }
}
