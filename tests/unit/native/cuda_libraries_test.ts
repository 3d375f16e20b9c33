/** The real libraries, on machines that have them; no GPU is needed. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { openCublas } from "../../../src/native/cublas.ts";
import { cudaProgram } from "../../../src/native/cuda_compile.ts";
import { openCudart } from "../../../src/native/cudart.ts";
import { isAtLeast, LibraryError } from "../../../src/native/library.ts";
import { openNccl } from "../../../src/native/nccl.ts";
import { NcclConstant } from "../../../src/native/nccl_types.ts";
import { NativeError } from "../../../src/native/native_error.ts";
import { openNvrtc } from "../../../src/native/nvrtc.ts";

const KERNEL = `#include "scale.cuh"
extern "C" __global__ void scale(float* values, int count, float factor) {
  const int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index < count) values[index] = times(values[index], factor);
}
`;
const SOURCES = [
  { name: "scale.cu", text: KERNEL },
  { name: "scale.cuh", text: "inline float times(float a, float b) { return a * b; }\n" },
];

/** Whether the library that `open` opens is missing; says so. */
function isMissing(open: () => Disposable): boolean {
  try {
    using _library = open();
    return false;
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error;
    console.warn(`NOT CHECKED: the real ${error.library}: ${error.message}`);
    return true;
  }
}

const noCudart = isMissing(openCudart);
const noNvrtc = isMissing(openNvrtc);
const noCublas = isMissing(openCublas);
const noNccl = isMissing(openNccl);

function hasGpu(): boolean {
  using cudart = openCudart();
  try {
    return cudart.getDeviceCount() > 0;
  } catch (error) {
    if (error instanceof NativeError) return false;
    throw error;
  }
}

Deno.test({
  name: "cudart gives its version and file",
  ignore: noCudart,
  fn: () => {
    using cudart = openCudart();
    assert(isAtLeast(cudart.version, [12, 9, 0]));
    assertMatch(cudart.path, /^\/.*libcudart.*\.so/);
  },
});

Deno.test({
  name: "cudart says in a clear sentence that there is no usable driver or GPU",
  ignore: noCudart || hasGpu(),
  fn: () => {
    using cudart = openCudart();
    const error = assertThrows(() => cudart.getDeviceCount(), NativeError);
    assertEquals([error.library, error.function], ["cudart", "cudaGetDeviceCount"]);
    assertMatch(
      error.message,
      error.status === 35
        ? /There is no NVIDIA driver on this machine|The NVIDIA driver goes up to CUDA/
        : /The NVIDIA driver shows no GPU to this process/,
    );
    assertEquals(assertThrows(() => cudart.setDevice(0), NativeError).status, error.status);
  },
});

for (const architecture of [80, 90, 100]) {
  Deno.test({
    name: `NVRTC compiles a kernel with a header for sm_${architecture}, without warnings`,
    ignore: noNvrtc,
    fn: () => {
      using nvrtc = openNvrtc();
      assert(nvrtc.supportedArchitectures().includes(architecture));
      const { cubin, log } = nvrtc.compile(cudaProgram({ architecture, sources: SOURCES }));
      assertEquals(log, "");
      assertEquals([...cubin.subarray(0, 4)], [0x7f, 0x45, 0x4c, 0x46], "an ELF file");
    },
  });
}

Deno.test({
  name: "NVRTC's error holds what the compiler said",
  ignore: noNvrtc,
  fn: () => {
    using nvrtc = openNvrtc();
    const sources = [{ name: "broken.cu", text: "void broken() { undeclared_name(); }\n" }];
    const error = assertThrows(
      () => nvrtc.compile(cudaProgram({ architecture: 90, sources })),
      NativeError,
    );
    assertEquals([error.function, error.status], ["nvrtcCompileProgram", 6]);
    assertStringIncludes(error.message, "broken.cu(1): error: identifier");
  },
});

Deno.test({
  name: "cuBLAS opens with cublasLt and gives its version",
  ignore: noCublas,
  fn: () => {
    using cublas = openCublas();
    assert(isAtLeast(cublas.version, [12, 9, 0]));
  },
});

Deno.test({
  name: "NCCL gives its version, and another identity each time",
  ignore: noNccl,
  fn: () => {
    using nccl = openNccl();
    assert(isAtLeast(nccl.version, [2, 18, 0]));
    const [first, second] = [nccl.getUniqueId(), nccl.getUniqueId()];
    assertEquals(first.length, NcclConstant.NCCL_UNIQUE_ID_BYTES);
    assert(first.some((byte, index) => byte !== second[index]));
  },
});

Deno.test({
  name: "NCCL's failures come with its own explanation",
  ignore: noNccl || noCudart || hasGpu(),
  fn: () => {
    using nccl = openNccl();
    const id = nccl.getUniqueId();
    const error = assertThrows(() => nccl.commInitRank({ id, rankCount: 1, rank: 0 }), NativeError);
    assertEquals([error.library, error.status], ["nccl", 1]);
    assertMatch(error.message, /driver version is insufficient|no CUDA-capable device/);
  },
});
