import { assert, assertEquals } from "@std/assert";
import { CUBLAS_SYMBOLS } from "../../../src/native/cublas.ts";
import * as cublasTypes from "../../../src/native/cublas_types.ts";
import type { CConstants, CStructure } from "../../../src/native/c_declarations.ts";
import { CUDART_SYMBOLS } from "../../../src/native/cudart_symbols.ts";
import * as cudartTypes from "../../../src/native/cudart_types.ts";
import { NCCL_SYMBOLS } from "../../../src/native/nccl_symbols.ts";
import * as ncclTypes from "../../../src/native/nccl_types.ts";
import { NVRTC_SYMBOLS } from "../../../src/native/nvrtc.ts";
import {
  assertionsOf,
  type Binding,
  brokenAssertions,
  hasCompiler,
  includeFolders,
} from "./_c_header_check.ts";

/** What a module of C values exports: each export is constants or a structure. */
function valuesOf(module: Readonly<Record<string, CConstants | CStructure>>) {
  const isStructure = (value: CConstants | CStructure): value is CStructure => "offsets" in value;
  const values = Object.values(module);
  return {
    constants: values.filter((value): value is CConstants => !isStructure(value)),
    structures: values.filter(isStructure),
  };
}

const BINDINGS: readonly Binding[] = [
  {
    header: "cuda_runtime_api.h",
    requires: [],
    symbols: CUDART_SYMBOLS,
    overloaded: {},
    ...valuesOf(cudartTypes),
  },
  {
    header: "cublas_v2.h",
    requires: ["cuda_runtime_api.h"],
    symbols: CUBLAS_SYMBOLS,
    overloaded: {
      cublasGemmEx: "cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, " +
        "int, int, int, const void*, const void*, cudaDataType, int, const void*, cudaDataType, " +
        "int, const void*, void*, cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t)",
      cublasGemmStridedBatchedEx:
        "cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, " +
        "int, int, int, const void*, const void*, cudaDataType, int, long long, " +
        "const void*, cudaDataType, int, long long, const void*, void*, cudaDataType, int, " +
        "long long, int, cublasComputeType_t, cublasGemmAlgo_t)",
    },
    ...valuesOf(cublasTypes),
  },
  {
    header: "nvrtc.h",
    requires: [],
    symbols: NVRTC_SYMBOLS,
    overloaded: {},
    constants: [],
    structures: [],
  },
  {
    header: "nccl.h",
    requires: ["cuda_runtime.h"],
    symbols: NCCL_SYMBOLS,
    overloaded: {},
    ...valuesOf(ncclTypes),
  },
];

/** Another type, which no C parameter takes that takes the first. */
const WRONG_TYPES: Readonly<Record<string, Deno.NativeType>> = {
  i32: "i64",
  u32: "i64",
  i64: "u64",
  u64: "i64",
  usize: "i32",
  buffer: "i64",
};

function wrongType<T>(type: T): Deno.NativeType {
  return typeof type === "string" ? WRONG_TYPES[type] : { struct: ["u64"] };
}

/** A binding of which nothing is right but the names. */
function corrupted(binding: Binding): Binding {
  const symbols = Object.entries(binding.symbols).map(([name, symbol]) => {
    if ("type" in symbol) throw new TypeError(`${name} is no function`);
    const parameters = [...symbol.parameters.map(wrongType), "i32" as const];
    return [name, { ...symbol, parameters, result: wrongType(symbol.result) }];
  });
  return {
    ...binding,
    symbols: Object.fromEntries(symbols),
    constants: binding.constants.map((constants) =>
      Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, value + 1]))
    ),
    structures: binding.structures.map((structure) => ({
      ...structure,
      byteLength: structure.extent === "begin" ? 1 << 20 : 1,
      offsets: Object.fromEntries(
        Object.entries(structure.offsets).map(([name, offset]) => [name, offset + 1]),
      ),
    })),
  };
}

for (const binding of BINDINGS) {
  const folders = hasCompiler() ? includeFolders(binding) : null;
  if (folders === null) {
    console.warn(
      `NOT CHECKED: bindings against ${binding.header}, as g++ or the header was not found; ` +
        "WEFT_CUDA_INCLUDE_PATH can name its folder",
    );
  }
  const ignore = folders === null;

  Deno.test({
    name: `the bindings agree with ${binding.header}`,
    ignore,
    fn: async () => {
      const assertions = assertionsOf(binding);
      assert(assertions.length > 10, "there is something to check");
      assertEquals(await brokenAssertions(binding, assertions, folders!), []);
    },
  });

  Deno.test({
    name: `every disagreement with ${binding.header} is found`,
    ignore,
    fn: async () => {
      const assertions = assertionsOf(corrupted(binding));
      const isMutant = ({ message }: { message: string }) => !message.endsWith("another type");
      assertEquals(
        (await brokenAssertions(binding, assertions, folders!)).sort(),
        assertions.filter(isMutant).map(({ message }) => message).sort(),
      );
    },
  });
}

const [CUDART_BINDING] = BINDINGS;
const cudartFolders = hasCompiler() ? includeFolders(CUDART_BINDING) : null;

Deno.test({
  name: "a signed parameter is told from an unsigned one of the same width",
  ignore: cudartFolders === null,
  fn: async () => {
    const symbols = {
      // cudaError_t cudaSetDevice(int device)
      cudaSetDevice: { parameters: ["u32"], result: "i32" },
      // cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags)
      cudaStreamWaitEvent: { parameters: ["usize", "usize", "i32"], result: "i32" },
    } as const;
    const binding = { ...CUDART_BINDING, symbols, constants: [], structures: [] };
    assertEquals(
      await brokenAssertions(binding, assertionsOf(binding), cudartFolders!),
      ["cudaSetDevice parameter 0 is not u32", "cudaStreamWaitEvent parameter 2 is not i32"],
    );
  },
});
