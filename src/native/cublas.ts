/**
 * cuBLAS: products of matrices on the GPU. Matrices are column-major, as in C.
 * @module
 */
import { decodeCString } from "./c_declarations.ts";
import { CublasMode, LibraryProperty } from "./cublas_types.ts";
import {
  type LibraryDescription,
  type LibraryVersion,
  type OpenLibrary,
  openLibrary,
  type OpenLibraryOptions,
} from "./library.ts";
import { checkSize } from "./native_arguments.ts";
import { NativeError } from "./native_error.ts";

/** FFI table of libcublas; handles and addresses are `usize`. */
export const CUBLAS_SYMBOLS = {
  // cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value)
  cublasGetProperty: { parameters: ["i32", "buffer"], result: "i32" },
  // const char* cublasGetStatusString(cublasStatus_t status)
  cublasGetStatusString: { parameters: ["i32"], result: "usize" },
  // cublasStatus_t cublasCreate_v2(cublasHandle_t* handle)
  cublasCreate_v2: { parameters: ["buffer"], result: "i32" },
  // cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
  cublasDestroy_v2: { parameters: ["usize"], result: "i32" },
  // cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t streamId)
  cublasSetStream_v2: { parameters: ["usize", "usize"], result: "i32" },
  // cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace,
  //   size_t workspaceSizeInBytes)
  cublasSetWorkspace_v2: { parameters: ["usize", "usize", "usize"], result: "i32" },
  // cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
  cublasSetMathMode: { parameters: ["usize", "i32"], result: "i32" },
  // cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
  //   cublasOperation_t transb, int m, int n, int k, const void* alpha,
  //   const void* A, cudaDataType Atype, int lda, const void* B, cudaDataType Btype, int ldb,
  //   const void* beta, void* C, cudaDataType Ctype, int ldc,
  //   cublasComputeType_t computeType, cublasGemmAlgo_t algo)
  // deno-fmt-ignore
  cublasGemmEx: {
    parameters: [
      "usize", "i32", "i32", "i32", "i32", "i32", "usize",
      "usize", "i32", "i32", "usize", "i32", "i32",
      "usize", "usize", "i32", "i32", "i32", "i32",
    ],
    result: "i32",
  },
  // cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
  //   cublasOperation_t transb, int m, int n, int k, const void* alpha,
  //   const void* A, cudaDataType Atype, int lda, long long strideA,
  //   const void* B, cudaDataType Btype, int ldb, long long strideB,
  //   const void* beta, void* C, cudaDataType Ctype, int ldc, long long strideC, int batchCount,
  //   cublasComputeType_t computeType, cublasGemmAlgo_t algo)
  // deno-fmt-ignore
  cublasGemmStridedBatchedEx: {
    parameters: [
      "usize", "i32", "i32", "i32", "i32", "i32", "usize",
      "usize", "i32", "i32", "i64", "usize", "i32", "i32", "i64",
      "usize", "usize", "i32", "i32", "i64", "i32", "i32", "i32",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Where libcublas is found. */
const CUBLAS: LibraryDescription<Pick<typeof CUBLAS_SYMBOLS, "cublasGetProperty">> = {
  name: "cublas",
  variable: "WEFT_CUBLAS_PATH",
  sonames: ["libcublas.so.13", "libcublas.so.12"],
  wheels: ["cu13", "cublas"],
  install: "pip install nvidia-cublas",
  minimum: [12, 9, 0],
  resident: true,
  companion: { variable: "WEFT_CUBLASLT_PATH", stem: "libcublasLt" },
  versionSymbols: { cublasGetProperty: CUBLAS_SYMBOLS.cublasGetProperty },
  readVersion({ cublasGetProperty }) {
    const { MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL } = LibraryProperty;
    const read = (property: number) => {
      const value = new Int32Array(1);
      const status = cublasGetProperty(property, value);
      if (status !== 0) throw new Error(`it gave no version: status ${status}`);
      return value[0];
    };
    return [read(MAJOR_VERSION), read(MINOR_VERSION), read(PATCH_LEVEL)];
  },
};

/** Opens libcublas; throws LibraryError. */
export function openCublas(options: OpenLibraryOptions = {}): Cublas {
  return new Cublas(openLibrary(CUBLAS, CUBLAS_SYMBOLS, options));
}

/** The open cuBLAS. Every method throws NativeError when the C function fails. */
export class Cublas implements Disposable {
  /** The C functions. */
  readonly symbols: Deno.DynamicLibrary<typeof CUBLAS_SYMBOLS>["symbols"];
  /** File that was opened. */
  readonly path: string;
  /** Version of the library. */
  readonly version: LibraryVersion;
  readonly #library: OpenLibrary<typeof CUBLAS_SYMBOLS>;

  /** Made by {@linkcode openCublas}. */
  constructor(library: OpenLibrary<typeof CUBLAS_SYMBOLS>) {
    this.#library = library;
    this.symbols = library.symbols;
    this.path = library.path;
    this.version = library.version;
  }

  /** Throws NativeError when `status`, which `functionName` has returned, is a failure. */
  check(status: number, functionName: string): void {
    if (status !== 0) throw this.error(status, functionName);
  }

  /** The error of a status. */
  error(status: number, functionName: string): NativeError {
    const explanation = decodeCString(this.symbols.cublasGetStatusString(status));
    return new NativeError({ library: "cublas", function: functionName, status, explanation });
  }

  /** A handle for the current device. */
  create(): bigint {
    const handle = new BigUint64Array(1);
    this.check(this.symbols.cublasCreate_v2(handle), "cublasCreate");
    return handle[0];
  }

  /** Frees a handle; waits for the device. */
  destroy(handle: bigint): void {
    this.check(this.symbols.cublasDestroy_v2(handle), "cublasDestroy");
  }

  /** The stream of later products; takes the workspace away. */
  setStream(handle: bigint, stream: bigint): void {
    this.check(this.symbols.cublasSetStream_v2(handle, stream), "cublasSetStream");
  }

  /** Device memory (aligned to 256 bytes) that products may use; to be set after the stream. */
  setWorkspace(handle: bigint, address: bigint, byteLength: number): void {
    checkSize("byteLength", byteLength);
    this.check(
      this.symbols.cublasSetWorkspace_v2(handle, address, BigInt(byteLength)),
      "cublasSetWorkspace",
    );
  }

  /** What products may round; `mode` from `CublasMode`. */
  setMathMode(handle: bigint, mode: number): void {
    this.check(this.symbols.cublasSetMathMode(handle, mode), "cublasSetMathMode");
  }

  /**
   * C = alpha op(A) op(B) + beta C, where op(A) is m x k and op(B) k x n; `lda`, `ldb` and `ldc` are
   * elements between columns. Operations, types and `computeType` as in `cublas_types.ts`; `alpha` and
   * `beta` are addresses of host values of the compute type.
   */
  gemmEx(
    handle: bigint,
    transa: number,
    transb: number,
    m: number,
    n: number,
    k: number,
    alpha: bigint,
    a: bigint,
    aType: number,
    lda: number,
    b: bigint,
    bType: number,
    ldb: number,
    beta: bigint,
    c: bigint,
    cType: number,
    ldc: number,
    computeType: number,
  ): void {
    // deno-fmt-ignore
    const status = this.symbols.cublasGemmEx(
      handle, transa, transb, m, n, k, alpha, a, aType, lda, b, bType, ldb, beta, c, cType, ldc,
      computeType, CublasMode.CUBLAS_GEMM_DEFAULT,
    );
    if (status !== 0) throw this.error(status, "cublasGemmEx");
  }

  /** {@linkcode gemmEx} for `batchCount` products whose operands lie a stride of elements apart. */
  gemmStridedBatchedEx(
    handle: bigint,
    transa: number,
    transb: number,
    m: number,
    n: number,
    k: number,
    alpha: bigint,
    a: bigint,
    aType: number,
    lda: number,
    strideA: bigint,
    b: bigint,
    bType: number,
    ldb: number,
    strideB: bigint,
    beta: bigint,
    c: bigint,
    cType: number,
    ldc: number,
    strideC: bigint,
    batchCount: number,
    computeType: number,
  ): void {
    // deno-fmt-ignore
    const status = this.symbols.cublasGemmStridedBatchedEx(
      handle, transa, transb, m, n, k, alpha, a, aType, lda, strideA, b, bType, ldb, strideB,
      beta, c, cType, ldc, strideC, batchCount, computeType, CublasMode.CUBLAS_GEMM_DEFAULT,
    );
    if (status !== 0) throw this.error(status, "cublasGemmStridedBatchedEx");
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
