/**
 * The emulated CUDA runtime, for the tests of the emulator itself.
 * @module
 */
import { assertEquals } from "@std/assert";
import { addressOf } from "../../../src/native/c_declarations.ts";
import { CudaLaunchConfig } from "../../../src/native/cuda_launch_config.ts";
import { Cudart } from "../../../src/native/cudart.ts";
import { CUDART_SYMBOLS } from "../../../src/native/cudart_symbols.ts";
import { CudaMemcpyKind, CudaStreamFlags } from "../../../src/native/cudart_types.ts";
import { NativeError } from "../../../src/native/native_error.ts";
import { emulatorLibraries } from "../../cuda_emulator/build.ts";
import { EmulatorControls } from "../../cuda_emulator/controls.ts";

/** Statuses of the CUDA runtime that only these tests look at. */
export const Status = {
  invalidValue: 1,
  memoryAllocation: 2,
  invalidConfiguration: 9,
  invalidResourceHandle: 400,
  symbolNotFound: 500,
  illegalAddress: 700,
  launchOutOfResources: 701,
  launchTimeout: 702,
  hostMemoryAlreadyRegistered: 712,
  launchFailure: 719,
  captureUnsupported: 900,
  captureInvalidated: 901,
  captureUnjoined: 904,
  captureIsolation: 905,
} as const;

/** The status that `call` fails with; 0 when it does not. */
export function statusOf(call: () => unknown): number {
  try {
    call();
    return 0;
  } catch (error) {
    if (error instanceof NativeError) return error.status;
    throw error;
  }
}

/** An emulated runtime with one stream. */
export class TestRuntime {
  /** The runtime. */
  readonly cudart: Cudart;
  /** What can be asked of the emulator. */
  readonly controls: EmulatorControls;
  /** A stream of device 0. */
  readonly stream: bigint;
  /** Whether the test leaves work that never ends, so that nothing can be freed. */
  abandoned = false;

  /** Made by {@linkcode withRuntime}. */
  constructor(cudart: Cudart, controls: EmulatorControls) {
    this.cudart = cudart;
    this.controls = controls;
    this.stream = this.newStream();
  }

  /** Another stream of the current device. */
  newStream(): bigint {
    return this.cudart.streamCreateWithFlags(CudaStreamFlags.cudaStreamNonBlocking);
  }

  /** Device memory with these values, which are there when this returns. */
  upload(values: ArrayBufferView<ArrayBuffer>): bigint {
    const address = this.cudart.malloc(values.byteLength);
    const size = BigInt(values.byteLength);
    const kind = CudaMemcpyKind.cudaMemcpyHostToDevice;
    this.cudart.memcpyAsync(address, addressOf(values), size, kind, this.stream);
    this.cudart.streamSynchronize(this.stream);
    return address;
  }

  /** Fills `values` from device memory after all work of the stream. */
  download<T extends ArrayBufferView<ArrayBuffer>>(address: bigint, values: T): T {
    const size = BigInt(values.byteLength);
    const kind = CudaMemcpyKind.cudaMemcpyDeviceToHost;
    this.cudart.memcpyAsync(addressOf(values), address, size, kind, this.stream);
    return values;
  }

  /** Pinned host memory, and its bytes. */
  pinned(byteLength: number): { address: bigint; bytes: Uint8Array<ArrayBuffer> } {
    const address = this.cudart.hostAlloc(byteLength);
    const pointer = Deno.UnsafePointer.create(address)!;
    return {
      address,
      bytes: new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength)),
    };
  }

  /** Queues a copy between addresses of any kind. */
  copy(to: bigint, from: bigint, byteLength: number, stream = this.stream): void {
    const kind = CudaMemcpyKind.cudaMemcpyDefault;
    this.cudart.memcpyAsync(to, from, BigInt(byteLength), kind, stream);
  }

  /** Queues a kernel of which all parameters are addresses. */
  launch(kernel: bigint, parameters: readonly bigint[], shape: LaunchShape = {}): void {
    const { grid = [1, 1, 1], block = [32, 1, 1], sharedBytes = 0, stream = this.stream } = shape;
    const config = new CudaLaunchConfig({ programmaticStreamSerialization: true });
    config.setGrid(...grid);
    config.setBlock(...block);
    config.setDynamicSharedBytes(sharedBytes);
    config.setStream(stream);
    const values = BigUint64Array.from(parameters);
    const first = addressOf(values);
    const addresses = BigUint64Array.from(parameters, (_, index) => first + 8n * BigInt(index));
    this.cudart.launchKernelExC(config.address, kernel, addressOf(addresses));
  }
}

/** How a kernel is launched. */
export interface LaunchShape {
  readonly grid?: readonly [number, number, number];
  readonly block?: readonly [number, number, number];
  readonly sharedBytes?: number;
  readonly stream?: bigint;
}

/**
 * Runs a test on the emulated runtime, which is as new. Fails when the test leaves something on the
 * device or misuses of the API that it has not taken note of.
 */
export async function withRuntime(
  run: (runtime: TestRuntime) => void | Promise<void>,
): Promise<void> {
  const { WEFT_CUDART_PATH: path } = await emulatorLibraries();
  const library = Deno.dlopen(path, CUDART_SYMBOLS);
  const cudart = new Cudart({
    symbols: library.symbols,
    path,
    version: [13, 0, 0],
    close: () => library.close(),
  });
  using controls = new EmulatorControls(path);
  controls.reset();
  cudart.setDevice(0);
  try {
    const runtime = new TestRuntime(cudart, controls);
    await run(runtime);
    if (controls.fault() === "" && !runtime.abandoned) {
      cudart.streamDestroy(runtime.stream);
      assertEquals(controls.leaks(), []);
    }
    assertEquals(controls.takeMisuses(), []);
  } finally {
    controls.reset();
    cudart.close();
  }
}
