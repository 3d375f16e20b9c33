import { assertEquals, assertMatch } from "@std/assert";
import { addressOf } from "../../../src/native/c_declarations.ts";
import { Cublas, CUBLAS_SYMBOLS } from "../../../src/native/cublas.ts";
import { CublasComputeType, CudaDataType } from "../../../src/native/cublas_types.ts";
import { emulatorLibraries } from "../../cuda_emulator/build.ts";
import { Status, statusOf, type TestRuntime, withRuntime } from "./_runtime.ts";

const { CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF } = CudaDataType;
const COMPUTE = CublasComputeType.CUBLAS_COMPUTE_32F;
const WORKSPACE_BYTES = 8192;

/** Numbers from -2 to 2 that every type can hold. */
function numbers(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => ((i * 37 + seed * 11) % 33 - 16) / 8);
}

function encode(values: readonly number[], type: number): ArrayBufferView<ArrayBuffer> {
  const floats = Float32Array.from(values);
  if (type === CUDA_R_32F) return floats;
  if (type === CUDA_R_16F) return Float16Array.from(values);
  // To nearest even: half a step is added below the bits that stay.
  const words = new Uint32Array(floats.buffer);
  return Uint16Array.from(words, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}

function decode(bytes: ArrayBuffer, type: number): number[] {
  if (type === CUDA_R_32F) return [...new Float32Array(bytes)];
  if (type === CUDA_R_16F) return [...new Float16Array(bytes)];
  const halves = [...new Uint16Array(bytes)].flatMap((half) => [0, half]);
  return [...new Float32Array(Uint16Array.from(halves).buffer)];
}

/** Runs a test with a handle that has a stream and a workspace. */
function withBlas(
  run: (runtime: TestRuntime, blas: Cublas, handle: bigint) => void,
): Promise<void> {
  return withRuntime(async (runtime) => {
    const { WEFT_CUBLAS_PATH: path } = await emulatorLibraries();
    const library = Deno.dlopen(path, CUBLAS_SYMBOLS);
    using blas = new Cublas({
      symbols: library.symbols,
      path,
      version: [13, 1, 0],
      close: () => library.close(),
    });
    const workspace = runtime.cudart.malloc(WORKSPACE_BYTES);
    const handle = blas.create();
    blas.setStream(handle, runtime.stream);
    blas.setWorkspace(handle, workspace, WORKSPACE_BYTES);
    run(runtime, blas, handle);
    if (runtime.controls.fault() !== "") return;
    blas.destroy(handle);
    runtime.cudart.free(workspace);
  });
}

/** A product, and what it has to be. */
interface Product {
  readonly transA: number;
  readonly transB: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly alpha: number;
  readonly beta: number;
  readonly inType: number;
  readonly outType: number;
}

const GAP = 3;

/** Multiplies two matrices of a batch on the emulator and in float64, with gaps between columns. */
function checkProduct(runtime: TestRuntime, blas: Cublas, handle: bigint, product: Product): void {
  const { transA, transB, m, n, k, alpha, beta, inType, outType } = product;
  const [lda, ldb, ldc] = [(transA ? k : m) + GAP, (transB ? n : k) + GAP, m + GAP];
  const strides = [lda * (transA ? m : k), ldb * (transB ? k : n), ldc * n] as const;
  const [a, b, c] = strides.map((stride, index) => numbers(2 * stride + 1, index));
  const [onA, onB] = [a, b].map((values) => runtime.upload(encode(values, inType)));
  const onC = runtime.upload(encode(c, outType));
  const scales = Float32Array.of(alpha, beta);
  const alphaAddress = addressOf(scales);
  // deno-fmt-ignore
  blas.gemmStridedBatchedEx(
    handle, transA, transB, m, n, k, alphaAddress, onA, inType, lda, BigInt(strides[0]),
    onB, inType, ldb, BigInt(strides[1]), alphaAddress + 4n, onC, outType, ldc, BigInt(strides[2]),
    2, COMPUTE,
  );
  scales.fill(NaN);
  const found = runtime.download(onC, new Uint8Array(c.length * (outType === CUDA_R_32F ? 4 : 2)));
  const actual = decode(found.buffer, outType);
  const expected = [...c];
  for (let batch = 0; batch < 2; batch++) {
    const [atA, atB, atC] = strides.map((stride) => stride * batch);
    for (let column = 0; column < n; column++) {
      for (let row = 0; row < m; row++) {
        let sum = 0;
        for (let i = 0; i < k; i++) {
          sum += a[atA + (transA ? row * lda + i : i * lda + row)] *
            b[atB + (transB ? i * ldb + column : column * ldb + i)];
        }
        const index = atC + column * ldc + row;
        const value = alpha * sum + (beta === 0 ? 0 : beta * c[index]);
        expected[index] = decode(encode([value], outType).buffer, outType)[0];
      }
    }
  }
  assertEquals(actual, expected, JSON.stringify(product));
  for (const address of [onA, onB, onC]) runtime.cudart.free(address);
}

Deno.test("emulated products equal float64, rounded once", () =>
  withBlas((runtime, blas, handle) => {
    const shapes = [[1, 1, 1], [17, 5, 33], [16, 4, 7], [33, 9, 64], [5, 1, 130]];
    const types = [
      [CUDA_R_32F, CUDA_R_32F],
      [CUDA_R_16F, CUDA_R_16F],
      [CUDA_R_16F, CUDA_R_32F],
      [CUDA_R_16BF, CUDA_R_16BF],
      [CUDA_R_16BF, CUDA_R_32F],
    ];
    for (const [m, n, k] of shapes) {
      for (const [inType, outType] of types) {
        for (const trans of [0, 1, 2, 3]) {
          const scales = trans % 2 === 0 ? { alpha: 1, beta: 0 } : { alpha: 0.5, beta: -2 };
          const [transA, transB] = [trans & 1, trans >> 1];
          const product = { transA, transB, m, n, k, ...scales, inType, outType };
          checkProduct(runtime, blas, handle, product);
        }
      }
    }
  }));

/** Queues `c = a b` of 2 x 2 matrices. */
function multiply(blas: Cublas, handle: bigint, [a, b, c]: readonly bigint[], ldc = 2): void {
  const scales = Float32Array.of(1, 0);
  const alpha = addressOf(scales);
  // deno-fmt-ignore
  blas.gemmEx(
    handle, 0, 0, 2, 2, 2, alpha, a, CUDA_R_32F, 2, b, CUDA_R_32F, 2, alpha + 4n, c, CUDA_R_32F,
    ldc, COMPUTE,
  );
}

Deno.test("emulated products run in stream order, and again in graphs", () =>
  withBlas((runtime, blas, handle) => {
    const { cudart, stream } = runtime;
    const [a, b, c] = [[1, 2, 3, 4], [1, 0, 0, 1], [0, 0, 0, 0]].map((values) =>
      runtime.upload(Float32Array.from(values))
    );
    multiply(blas, handle, [a, b, c]);
    assertEquals(cudart.streamQuery(stream), false);
    assertEquals([...runtime.download(c, new Float32Array(4))], [1, 2, 3, 4]);
    cudart.streamBeginCapture(stream, 1);
    multiply(blas, handle, [a, b, c]);
    multiply(blas, handle, [c, a, b]);
    const graph = cudart.streamEndCapture(stream);
    const executable = cudart.graphInstantiate(graph);
    cudart.graphLaunch(executable, stream);
    assertEquals([...runtime.download(b, new Float32Array(4))], [7, 10, 15, 22]);
    cudart.graphExecDestroy(executable);
    cudart.graphDestroy(graph);
    for (const address of [a, b, c]) cudart.free(address);
  }));

Deno.test("a product needs a stream, a workspace in captures, and operands that are there", () =>
  withBlas((runtime, blas, handle) => {
    const { cudart, controls, stream } = runtime;
    const operands = [0, 1, 2].map(() => runtime.upload(new Float32Array(4)));
    assertEquals(statusOf(() => multiply(blas, handle, operands, 1)), 7);
    assertEquals(statusOf(() => multiply(blas, handle, [operands[0] + 4n, ...operands])), 7);
    assertEquals(statusOf(() => multiply(blas, handle, [operands[0] + 1n, ...operands])), 7);
    assertEquals(statusOf(() => multiply(blas, 5n, operands)), 1);
    blas.setStream(handle, stream);
    cudart.streamBeginCapture(stream, 1);
    assertEquals(statusOf(() => multiply(blas, handle, operands)), 3);
    cudart.graphDestroy(cudart.streamEndCapture(stream));
    assertEquals(statusOf(() => blas.setWorkspace(handle, operands[0] + 4n, 4)), 7);
    assertEquals(controls.takeMisuses().length, 6);
    for (const address of operands) cudart.free(address);
  }));

Deno.test("a product of what nobody has written is a fault", () =>
  withBlas((runtime, blas, handle) => {
    const { cudart, controls, stream } = runtime;
    const a = cudart.malloc(16);
    const b = runtime.upload(new Float32Array(4));
    multiply(blas, handle, [a, b, cudart.malloc(16)]);
    assertEquals(statusOf(() => cudart.streamSynchronize(stream)), Status.launchFailure);
    assertMatch(controls.fault(), /nobody has written/);
    assertEquals(statusOf(() => multiply(blas, handle, [a, b, b])), 13);
  }));
