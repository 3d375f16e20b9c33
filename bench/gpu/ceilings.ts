/**
 * What the GPU can do: copy bandwidth, and a large bf16 product by cuBLAS, through our own bindings.
 * @module
 */
import { CublasComputeType, CublasOperation, CudaDataType } from "../../src/native/cublas_types.ts";
import { RandomWeights } from "../../src/models/random_weights.ts";
import { addressOf } from "../../src/native/c_declarations.ts";
import type { CudaContext } from "../../src/tensor/cuda/context.ts";
import { measureCopyBandwidth } from "../../src/tensor/cuda/copy_bandwidth.ts";
import { openCudaContext } from "../../src/tensor/cuda/open_context.ts";
import { report } from "./_figures.ts";
import { secondsOf } from "./_timing.ts";

const GEMM_SIZE = 8192;

function gemmRate({ memory, stream, blas }: CudaContext): number {
  const count = GEMM_SIZE ** 2;
  const random = new RandomWeights("bf16", { seed: 1n, standardDeviation: 1 });
  const values = new Uint16Array(count);
  const operands = ["a", "b"].map((name) => {
    random.stream(name).fill(values);
    const address = memory.allocate(2 * count);
    memory.upload(address, values);
    return address;
  });
  const product = memory.allocate(2 * count);
  const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
  const { CUBLAS_OP_N, CUBLAS_OP_T } = CublasOperation;
  const { CUDA_R_16BF: bf16 } = CudaDataType;
  const n = GEMM_SIZE;
  const seconds = secondsOf(stream, () => {
    // deno-fmt-ignore
    blas.cublas.gemmEx(
      blas.handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n,
      addressOf(one.buffer), operands[0], bf16, n, operands[1], bf16, n,
      addressOf(zero.buffer), product, bf16, n, CublasComputeType.CUBLAS_COMPUTE_32F,
    );
  });
  for (const address of [...operands, product]) memory.free(address);
  return 2 * n ** 3 / seconds;
}

using opened = openCudaContext();
const { context } = opened;
const { name, architecture } = context.properties;
const details = {
  gpu: name,
  architecture: `sm_${architecture}`,
  cudart: context.cudart.version.join("."),
  cublas: context.blas.cublas.version.join("."),
  deno: Deno.version.deno,
};
report({ name: "copy", value: measureCopyBandwidth(context) / 1e9, unit: "GB/s", details });
report({ name: `GEMM ${GEMM_SIZE}`, value: gemmRate(context) / 1e12, unit: "TFLOP/s", details });
