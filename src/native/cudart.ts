/**
 * The CUDA runtime. Methods have the names of the C functions without their prefix and call them on
 * the calling thread, which is the one whose current device counts.
 * @module
 */
import { decodeCString, encodeCString } from "./c_declarations.ts";
import { CUDART_SYMBOLS } from "./cudart_symbols.ts";
import { CUDA_DEVICE_PROPERTIES, CUDA_FUNCTION_ATTRIBUTES, CudaError } from "./cudart_types.ts";
import {
  formatVersion,
  type LibraryDescription,
  type LibraryVersion,
  type OpenLibrary,
  openLibrary,
} from "./library.ts";
import { checkNatural, checkSize } from "./native_arguments.ts";
import { NativeError } from "./native_error.ts";

/** Where libcudart is found. */
export const CUDART: LibraryDescription<Pick<typeof CUDART_SYMBOLS, "cudaRuntimeGetVersion">> = {
  name: "cudart",
  variable: "WEFT_CUDART_PATH",
  sonames: ["libcudart.so.13", "libcudart.so.12"],
  wheels: ["cu13", "cuda_runtime"],
  install: "pip install nvidia-cuda-runtime",
  minimum: [12, 9, 0],
  resident: true,
  versionSymbols: { cudaRuntimeGetVersion: CUDART_SYMBOLS.cudaRuntimeGetVersion },
  readVersion(symbols) {
    const version = new Int32Array(1);
    const status = symbols.cudaRuntimeGetVersion(version);
    if (status !== CudaError.cudaSuccess) throw new Error(`it gave no version: status ${status}`);
    return decodeVersion(version[0]);
  },
};

/** What the properties of a device say that no attribute does. */
export interface CudaDeviceProperties {
  /** Name of the product. */
  readonly name: string;
  /** Bytes of its memory. */
  readonly totalMemory: number;
}

/** What was compiled for a kernel. */
export interface CudaKernelAttributes {
  /** Registers of a thread. */
  readonly registers: number;
  /** Bytes of a thread in local memory: spilled registers and arrays. */
  readonly localBytes: number;
  /** Bytes of static shared memory of a block. */
  readonly sharedBytes: number;
  /** Most threads that a block may have. */
  readonly maxThreadsPerBlock: number;
}

/** Opens libcudart; throws LibraryError. Asks for no GPU and no driver. */
export function openCudart(): Cudart {
  return new Cudart(openLibrary(CUDART, CUDART_SYMBOLS));
}

/** The open CUDA runtime. Every method throws NativeError when the C function fails. */
export class Cudart implements Disposable {
  /** The C functions. */
  readonly symbols: Deno.DynamicLibrary<typeof CUDART_SYMBOLS>["symbols"];
  /** File that was opened. */
  readonly path: string;
  /** Version of the runtime. */
  readonly version: LibraryVersion;
  readonly #library: OpenLibrary<typeof CUDART_SYMBOLS>;
  readonly #integer = new Int32Array(1);
  readonly #words = new BigUint64Array(2);

  /** Made by {@linkcode openCudart}. */
  constructor(library: OpenLibrary<typeof CUDART_SYMBOLS>) {
    this.#library = library;
    this.symbols = library.symbols;
    this.path = library.path;
    this.version = library.version;
  }

  /** Throws NativeError when `status`, which `functionName` has returned, is a failure. */
  check(status: number, functionName: string): void {
    if (status !== CudaError.cudaSuccess) throw this.error(status, functionName);
  }

  /** The error of a status. */
  error(status: number, functionName: string): NativeError {
    const explanation = this.#explain(status);
    return new NativeError({ library: "cudart", function: functionName, status, explanation });
  }

  #explain(status: number): string {
    const name = decodeCString(this.symbols.cudaGetErrorName(status));
    const text = decodeCString(this.symbols.cudaGetErrorString(status));
    const advice = status === CudaError.cudaErrorInsufficientDriver
      ? `. ${this.#driverAdvice()}`
      : status === CudaError.cudaErrorNoDevice
      ? ". The NVIDIA driver shows no GPU to this process: look at nvidia-smi and CUDA_VISIBLE_DEVICES"
      : "";
    return `${text} (${name})${advice}`;
  }

  #driverAdvice(): string {
    const status = this.symbols.cudaDriverGetVersion(this.#integer);
    const runtime = `CUDA ${formatVersion(this.version)} of ${this.path}`;
    if (status !== CudaError.cudaSuccess || this.#integer[0] === 0) {
      return `There is no NVIDIA driver on this machine, or it is too old for ${runtime}`;
    }
    const driver = formatVersion(decodeVersion(this.#integer[0]));
    return `The NVIDIA driver goes up to CUDA ${driver} and is too old for ${runtime}: ` +
      `update the driver, or set ${CUDART.variable} to an older runtime`;
  }

  /** Newest CUDA version that the driver knows; null without a driver. */
  driverGetVersion(): LibraryVersion | null {
    this.check(this.symbols.cudaDriverGetVersion(this.#integer), "cudaDriverGetVersion");
    return this.#integer[0] === 0 ? null : decodeVersion(this.#integer[0]);
  }

  /** The status of the last call that failed on this thread; forgets it. */
  getLastError(): number {
    return this.symbols.cudaGetLastError();
  }

  /** The status of the last call that failed on this thread. */
  peekAtLastError(): number {
    return this.symbols.cudaPeekAtLastError();
  }

  /** Number of GPUs that this process sees. */
  getDeviceCount(): number {
    this.check(this.symbols.cudaGetDeviceCount(this.#integer), "cudaGetDeviceCount");
    return this.#integer[0];
  }

  /** Makes `device` the one that this thread's calls are for, and initialises it. */
  setDevice(device: number): void {
    checkNatural("device", device);
    this.check(this.symbols.cudaSetDevice(device), "cudaSetDevice");
  }

  /** The device that this thread's calls are for. */
  getDevice(): number {
    this.check(this.symbols.cudaGetDevice(this.#integer), "cudaGetDevice");
    return this.#integer[0];
  }

  /** Value of one of `CudaDeviceAttribute`. */
  deviceGetAttribute(attribute: number, device: number): number {
    checkNatural("device", device);
    this.check(
      this.symbols.cudaDeviceGetAttribute(this.#integer, attribute, device),
      "cudaDeviceGetAttribute",
    );
    return this.#integer[0];
  }

  /** Name and memory of a device, without initialising it. */
  getDeviceProperties(device: number): CudaDeviceProperties {
    checkNatural("device", device);
    const bytes = new Uint8Array(CUDA_DEVICE_PROPERTIES.byteLength);
    this.check(this.symbols.cudaGetDeviceProperties(bytes, device), "cudaGetDeviceProperties");
    const { name, totalGlobalMem } = CUDA_DEVICE_PROPERTIES.offsets;
    return {
      name: new TextDecoder().decode(bytes.subarray(name, bytes.indexOf(0, name))),
      totalMemory: Number(new DataView(bytes.buffer).getBigUint64(totalGlobalMem, true)),
    };
  }

  /** Bytes of memory of the current device that are free, and all of them. */
  memGetInfo(): { readonly free: number; readonly total: number } {
    this.check(
      this.symbols.cudaMemGetInfo(this.#words, this.#words.subarray(1)),
      "cudaMemGetInfo",
    );
    return { free: Number(this.#words[0]), total: Number(this.#words[1]) };
  }

  /** Address of `byteLength` new bytes on the current device. */
  malloc(byteLength: number): bigint {
    checkSize("byteLength", byteLength);
    this.check(this.symbols.cudaMalloc(this.#words, BigInt(byteLength)), "cudaMalloc");
    return this.#words[0];
  }

  /** Frees what {@linkcode malloc} gave; waits for the device. */
  free(address: bigint): void {
    this.check(this.symbols.cudaFree(address), "cudaFree");
  }

  /** Address of `byteLength` new bytes of pinned host memory; `flags` from `CudaHostFlags`. */
  hostAlloc(byteLength: number, flags = 0): bigint {
    checkSize("byteLength", byteLength);
    this.check(
      this.symbols.cudaHostAlloc(this.#words, BigInt(byteLength), flags),
      "cudaHostAlloc",
    );
    return this.#words[0];
  }

  /** Frees what {@linkcode hostAlloc} gave. */
  freeHost(address: bigint): void {
    this.check(this.symbols.cudaFreeHost(address), "cudaFreeHost");
  }

  /** Pins host memory that exists; `flags` from `CudaHostFlags`. */
  hostRegister(address: bigint, byteLength: number, flags = 0): void {
    checkSize("byteLength", byteLength);
    this.check(
      this.symbols.cudaHostRegister(address, BigInt(byteLength), flags),
      "cudaHostRegister",
    );
  }

  /** Undoes {@linkcode hostRegister}. */
  hostUnregister(address: bigint): void {
    this.check(this.symbols.cudaHostUnregister(address), "cudaHostUnregister");
  }

  /** Copies `byteLength` bytes in stream order; `kind` from `CudaMemcpyKind`. */
  memcpyAsync(
    destination: bigint,
    source: bigint,
    byteLength: bigint,
    kind: number,
    stream: bigint,
  ): void {
    const status = this.symbols.cudaMemcpyAsync(destination, source, byteLength, kind, stream);
    if (status !== 0) throw this.error(status, "cudaMemcpyAsync");
  }

  /** Copies `height` rows of `width` bytes that lie a pitch apart, in stream order. */
  memcpy2dAsync(
    destination: bigint,
    destinationPitch: bigint,
    source: bigint,
    sourcePitch: bigint,
    width: bigint,
    height: bigint,
    kind: number,
    stream: bigint,
  ): void {
    const status = this.symbols.cudaMemcpy2DAsync(
      destination,
      destinationPitch,
      source,
      sourcePitch,
      width,
      height,
      kind,
      stream,
    );
    if (status !== 0) throw this.error(status, "cudaMemcpy2DAsync");
  }

  /** Fills `byteLength` bytes with the byte `value` in stream order. */
  memsetAsync(address: bigint, value: number, byteLength: bigint, stream: bigint): void {
    const status = this.symbols.cudaMemsetAsync(address, value, byteLength, stream);
    if (status !== 0) throw this.error(status, "cudaMemsetAsync");
  }

  /** A new stream; `flags` from `CudaStreamFlags`. */
  streamCreateWithFlags(flags: number): bigint {
    this.check(
      this.symbols.cudaStreamCreateWithFlags(this.#words, flags),
      "cudaStreamCreateWithFlags",
    );
    return this.#words[0];
  }

  /** Frees a stream once its work is done; does not wait for it. */
  streamDestroy(stream: bigint): void {
    this.check(this.symbols.cudaStreamDestroy(stream), "cudaStreamDestroy");
  }

  /** Whether all work of the stream is done. */
  streamQuery(stream: bigint): boolean {
    return this.#isDone(this.symbols.cudaStreamQuery(stream), "cudaStreamQuery");
  }

  /** Waits without a bound until all work of the stream is done. */
  streamSynchronize(stream: bigint): void {
    this.check(this.symbols.cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  /** Lets later work of the stream wait for the event. */
  streamWaitEvent(stream: bigint, event: bigint): void {
    const status = this.symbols.cudaStreamWaitEvent(stream, event, 0);
    if (status !== 0) throw this.error(status, "cudaStreamWaitEvent");
  }

  /** A new event; `flags` from `CudaStreamFlags`. */
  eventCreateWithFlags(flags: number): bigint {
    this.check(
      this.symbols.cudaEventCreateWithFlags(this.#words, flags),
      "cudaEventCreateWithFlags",
    );
    return this.#words[0];
  }

  /** Puts the event behind the work that the stream has now. */
  eventRecord(event: bigint, stream: bigint): void {
    const status = this.symbols.cudaEventRecord(event, stream);
    if (status !== 0) throw this.error(status, "cudaEventRecord");
  }

  /** Whether the work before the event is done. */
  eventQuery(event: bigint): boolean {
    return this.#isDone(this.symbols.cudaEventQuery(event), "cudaEventQuery");
  }

  /** Milliseconds between two events that are done. */
  eventElapsedTime(start: bigint, end: bigint): number {
    const milliseconds = new Float32Array(1);
    this.check(
      this.symbols.cudaEventElapsedTime(milliseconds, start, end),
      "cudaEventElapsedTime",
    );
    return milliseconds[0];
  }

  /** Frees an event. */
  eventDestroy(event: bigint): void {
    this.check(this.symbols.cudaEventDestroy(event), "cudaEventDestroy");
  }

  #isDone(status: number, functionName: string): boolean {
    if (status === CudaError.cudaSuccess) return true;
    if (status === CudaError.cudaErrorNotReady) return false;
    throw this.error(status, functionName);
  }

  /** Lets the stream record its work in place of running it; `mode` from `CudaStreamCapture`. */
  streamBeginCapture(stream: bigint, mode: number): void {
    this.check(this.symbols.cudaStreamBeginCapture(stream, mode), "cudaStreamBeginCapture");
  }

  /** Ends the recording; the graph. */
  streamEndCapture(stream: bigint): bigint {
    this.check(this.symbols.cudaStreamEndCapture(stream, this.#words), "cudaStreamEndCapture");
    return this.#words[0];
  }

  /** How the recording stands: one of `CudaStreamCapture`. */
  streamIsCapturing(stream: bigint): number {
    this.check(
      this.symbols.cudaStreamIsCapturing(stream, this.#integer),
      "cudaStreamIsCapturing",
    );
    return this.#integer[0];
  }

  /** Makes a graph ready to launch. */
  graphInstantiate(graph: bigint): bigint {
    this.check(this.symbols.cudaGraphInstantiate(this.#words, graph, 0n), "cudaGraphInstantiate");
    return this.#words[0];
  }

  /** Puts what a launch needs onto the device beforehand. */
  graphUpload(executable: bigint, stream: bigint): void {
    this.check(this.symbols.cudaGraphUpload(executable, stream), "cudaGraphUpload");
  }

  /** Runs a graph in stream order. */
  graphLaunch(executable: bigint, stream: bigint): void {
    const status = this.symbols.cudaGraphLaunch(executable, stream);
    if (status !== 0) throw this.error(status, "cudaGraphLaunch");
  }

  /** Frees a graph; what was instantiated from it stays. */
  graphDestroy(graph: bigint): void {
    this.check(this.symbols.cudaGraphDestroy(graph), "cudaGraphDestroy");
  }

  /** Frees what {@linkcode graphInstantiate} gave. */
  graphExecDestroy(executable: bigint): void {
    this.check(this.symbols.cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
  }

  /** Loads compiled kernels (a cubin). */
  libraryLoadData(code: Uint8Array<ArrayBuffer>): bigint {
    this.check(
      this.symbols.cudaLibraryLoadData(this.#words, code, 0n, 0n, 0, 0n, 0n, 0),
      "cudaLibraryLoadData",
    );
    return this.#words[0];
  }

  /** The kernel called `name`. */
  libraryGetKernel(library: bigint, name: string): bigint {
    const status = this.symbols.cudaLibraryGetKernel(this.#words, library, encodeCString(name));
    this.check(status, `cudaLibraryGetKernel (${name})`);
    return this.#words[0];
  }

  /** Unloads kernels. */
  libraryUnload(library: bigint): void {
    this.check(this.symbols.cudaLibraryUnload(library), "cudaLibraryUnload");
  }

  /** Sets one of `CudaFunctionAttribute` for a device. */
  kernelSetAttributeForDevice(
    kernel: bigint,
    attribute: number,
    value: number,
    device: number,
  ): void {
    checkNatural("value", value);
    checkNatural("device", device);
    this.check(
      this.symbols.cudaKernelSetAttributeForDevice(kernel, attribute, value, device),
      "cudaKernelSetAttributeForDevice",
    );
  }

  /** What was compiled for a kernel. */
  funcGetAttributes(kernel: bigint): CudaKernelAttributes {
    const view = new DataView(new ArrayBuffer(CUDA_FUNCTION_ATTRIBUTES.byteLength));
    this.check(this.symbols.cudaFuncGetAttributes(view, kernel), "cudaFuncGetAttributes");
    const { sharedSizeBytes, localSizeBytes, maxThreadsPerBlock, numRegs } =
      CUDA_FUNCTION_ATTRIBUTES.offsets;
    return {
      registers: view.getInt32(numRegs, true),
      localBytes: Number(view.getBigUint64(localSizeBytes, true)),
      sharedBytes: Number(view.getBigUint64(sharedSizeBytes, true)),
      maxThreadsPerBlock: view.getInt32(maxThreadsPerBlock, true),
    };
  }

  /** Blocks of a kernel that a multiprocessor can hold at once. */
  occupancyMaxActiveBlocksPerMultiprocessor(
    kernel: bigint,
    blockSize: number,
    dynamicSharedBytes: number,
  ): number {
    checkNatural("blockSize", blockSize);
    checkSize("dynamicSharedBytes", dynamicSharedBytes);
    const status = this.symbols.cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      this.#integer,
      kernel,
      blockSize,
      BigInt(dynamicSharedBytes),
    );
    this.check(status, "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    return this.#integer[0];
  }

  /**
   * Launches a kernel. `config` is the address of a `CudaLaunchConfig`, `parameters` that of an array
   * with the address of each parameter; both may be changed when this returns.
   */
  launchKernelExC(config: bigint, kernel: bigint, parameters: bigint): void {
    const status = this.symbols.cudaLaunchKernelExC(config, kernel, parameters);
    if (status !== 0) throw this.error(status, "cudaLaunchKernelExC");
  }

  /** Closes the library. */
  close(): void {
    this.#library.close();
  }

  /** Closes the library. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A version that CUDA gives as one number: 13010 is 13.1. */
function decodeVersion(version: number): LibraryVersion {
  return [Math.trunc(version / 1000), Math.trunc(version % 1000 / 10), version % 10];
}
