/**
 * Small CUDA programs under the emulator, for the tests of the emulator itself.
 * @module
 */
import { addressOf } from "../../../src/native/c_declarations.ts";
import { CudaLaunchConfig } from "../../../src/native/cuda_launch_config.ts";
import { CUDA_SOURCES } from "../../../src/native/cuda_sources.ts";
import { Cudart } from "../../../src/native/cudart.ts";
import { CUDART_SYMBOLS } from "../../../src/native/cudart_symbols.ts";
import { CudaMemcpyKind, CudaStreamFlags } from "../../../src/native/cudart_types.ts";
import { Nvrtc, NVRTC_SYMBOLS } from "../../../src/native/nvrtc.ts";
import { emulatorLibraries } from "../../cuda_emulator/build.ts";
import { EmulatorControls } from "../../cuda_emulator/controls.ts";

const CURRENT_VERSION = [13, 0, 0] as const;

/** The emulated NVRTC; opened by its path, so that no variable of the process changes. */
export async function openEmulatedNvrtc(): Promise<Nvrtc> {
  const { WEFT_NVRTC_PATH: path } = await emulatorLibraries();
  const library = Deno.dlopen(path, NVRTC_SYMBOLS);
  return new Nvrtc({
    symbols: library.symbols,
    path,
    version: CURRENT_VERSION,
    close: () => library.close(),
  });
}

/** Compiles a program, which can include the headers of native/cuda, for sm_90. */
export function compile(nvrtc: Nvrtc, source: string): Uint8Array<ArrayBuffer> {
  const options = ["--gpu-architecture=sm_90", "-default-device", "--std=c++17"];
  const headers = CUDA_SOURCES.filter(({ name }) => name.endsWith(".cuh"));
  return nvrtc.compile({ source, name: "test.cu", headers, options }).cubin;
}

/** How many blocks and threads run a kernel. */
export interface Shape {
  /** Blocks of the grid; 1 by default. */
  readonly blocks?: number;
  /** Threads of a block; 32 by default. */
  readonly threads?: number;
  /** Dynamic shared memory of a block in bytes; 0 by default. */
  readonly sharedBytes?: number;
}

/** A compiled program on the emulated device. Disposing frees its memory and forgets its faults. */
export class EmulatedKernels implements Disposable {
  readonly #cudart: Cudart;
  readonly #controls: EmulatorControls;
  readonly #library: bigint;
  readonly #stream: bigint;

  private constructor(cudart: Cudart, controls: EmulatorControls, cubin: Uint8Array<ArrayBuffer>) {
    this.#cudart = cudart;
    this.#controls = controls;
    this.#library = cudart.libraryLoadData(cubin);
    this.#stream = cudart.streamCreateWithFlags(CudaStreamFlags.cudaStreamNonBlocking);
  }

  /** Compiles and loads a program. */
  static async load(source: string): Promise<EmulatedKernels> {
    using nvrtc = await openEmulatedNvrtc();
    const cubin = compile(nvrtc, source);
    const { WEFT_CUDART_PATH: path } = await emulatorLibraries();
    const { symbols, close } = bindCudart(path);
    const cudart = new Cudart({ symbols, path, version: CURRENT_VERSION, close });
    return new EmulatedKernels(cudart, new EmulatorControls(path), cubin);
  }

  /** Memory, of the device that runs the kernels or of another, that nobody has written. */
  allocate(byteLength: number, device = 0): bigint {
    this.#cudart.setDevice(device);
    const address = this.#cudart.malloc(byteLength);
    this.#cudart.setDevice(0);
    return address;
  }

  /** Device memory with these values. */
  upload(values: ArrayBufferView<ArrayBuffer>): bigint {
    const address = this.#cudart.malloc(values.byteLength);
    const bytes = BigInt(values.byteLength);
    const { cudaMemcpyHostToDevice } = CudaMemcpyKind;
    const source = addressOf(values);
    this.#cudart.memcpyAsync(address, source, bytes, cudaMemcpyHostToDevice, this.#stream);
    this.#cudart.streamSynchronize(this.#stream);
    return address;
  }

  /** Fills `values` from device memory. */
  download<T extends ArrayBufferView<ArrayBuffer>>(address: bigint, values: T): T {
    const bytes = BigInt(values.byteLength);
    const { cudaMemcpyDeviceToHost } = CudaMemcpyKind;
    const destination = addressOf(values);
    this.#cudart.memcpyAsync(destination, address, bytes, cudaMemcpyDeviceToHost, this.#stream);
    this.#cudart.streamSynchronize(this.#stream);
    return values;
  }

  /** Frees device memory. */
  free(address: bigint): void {
    this.#cudart.free(address);
  }

  /** Most threads that a block of the kernel may have. */
  maxThreads(name: string): number {
    const kernel = this.#cudart.libraryGetKernel(this.#library, name);
    return this.#cudart.funcGetAttributes(kernel).maxThreadsPerBlock;
  }

  /** Runs a kernel to its end: addresses are bigint, `int` parameters are numbers. */
  run(name: string, shape: Shape, ...parameters: (bigint | number)[]): void {
    const { blocks = 1, threads = 32, sharedBytes = 0 } = shape;
    const config = new CudaLaunchConfig({ programmaticStreamSerialization: true });
    config.setGrid(blocks, 1, 1);
    config.setBlock(threads, 1, 1);
    config.setDynamicSharedBytes(sharedBytes);
    config.setStream(this.#stream);
    const values = new BigInt64Array(parameters.map((value) => BigInt(value)));
    const first = addressOf(values);
    const addresses = new BigUint64Array(parameters.map((_, index) => first + 8n * BigInt(index)));
    const kernel = this.#cudart.libraryGetKernel(this.#library, name);
    this.#cudart.launchKernelExC(config.address, kernel, addressOf(addresses));
    this.#cudart.streamSynchronize(this.#stream);
  }

  /** What a kernel did wrong; empty when none has. */
  fault(): string {
    return this.#controls.fault();
  }

  /** Frees everything that the emulator holds. */
  [Symbol.dispose](): void {
    this.#controls.reset();
    this.#controls[Symbol.dispose]();
    this.#cudart.close();
  }
}

function bindCudart(path: string): {
  symbols: Deno.DynamicLibrary<typeof CUDART_SYMBOLS>["symbols"];
  close(): void;
} {
  const library = Deno.dlopen(path, CUDART_SYMBOLS);
  return { symbols: library.symbols, close: () => library.close() };
}
