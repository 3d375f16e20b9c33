// Calls of products, checked.
#include <algorithm>

#include "../cudart/misuse.h"
#include "../cudart/status.h"
#include "blas_handle.h"
#include "gemm.h"

namespace cuda_emulator {

namespace {

constexpr int kCompute32F = 68;
constexpr int kCompute32FPedantic = 69;
constexpr int kCompute32FFastTf32 = 77;
constexpr int kDefaultAlgorithm = -1;

// What all calls of products share.
struct Call {
  const char* function;
  int transa, transb, m, n, k;
  const void* alpha;
  const void* a;
  int a_type, lda;
  long long stride_a;
  const void* b;
  int b_type, ldb;
  long long stride_b;
  const void* beta;
  void* c;
  int c_type, ldc;
  long long stride_c;
  int batches, compute_type, algorithm;
};

bool is_type(int type) {
  return type == static_cast<int>(DataType::kF32) || type == static_cast<int>(DataType::kF16) ||
         type == static_cast<int>(DataType::kBf16);
}

bool are_types_supported(const Call& call) {
  if (!is_type(call.a_type) || call.a_type != call.b_type) return false;
  return call.c_type == call.a_type || call.c_type == static_cast<int>(DataType::kF32);
}

int refuse(const Call& call, const std::string& why, int status) {
  misuse(call.function, why);
  return status;
}

Matrix make_matrix(const void* address, int type, bool transposed, int rows, int columns,
                   int leading, long long stride) {
  auto* bytes = static_cast<unsigned char*>(const_cast<void*>(address));
  if (transposed) std::swap(rows, columns);
  return {bytes, static_cast<DataType>(type), transposed, rows, columns, leading, stride};
}

int check_call(const Call& call) {
  const auto& [function, transa, transb, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb,
               stride_b, beta, c, c_type, ldc, stride_c, batches, compute_type, algorithm] = call;
  if (m < 0 || n < 0 || k < 0 || batches < 0) {
    return refuse(call, "a size is negative", kBlasInvalidValue);
  }
  if (transa < 0 || transa > 1 || transb < 0 || transb > 1) {
    return refuse(call, "an operation is neither N nor T", kBlasInvalidValue);
  }
  if (lda < std::max(1, transa ? k : m) || ldb < std::max(1, transb ? n : k) ||
      ldc < std::max(1, m)) {
    return refuse(call, "a leading dimension is smaller than its column", kBlasInvalidValue);
  }
  if (!alpha || !beta) return refuse(call, "alpha or beta is null", kBlasInvalidValue);
  if (compute_type != kCompute32F && compute_type != kCompute32FPedantic &&
      compute_type != kCompute32FFastTf32) {
    return refuse(call, "the compute type is not emulated", kBlasNotSupported);
  }
  if (!are_types_supported(call)) {
    return refuse(call, "the combination of types is not supported", kBlasNotSupported);
  }
  if (algorithm != kDefaultAlgorithm) {
    return refuse(call, "the algorithm is not the default one", kBlasNotSupported);
  }
  if (stride_a < 0 || stride_b < 0 || stride_c < 0) {
    return refuse(call, "a stride is negative", kBlasInvalidValue);
  }
  const long long c_extent = static_cast<long long>(ldc) * (n - 1) + m;
  if (batches > 1 && n > 0 && stride_c < c_extent && !(stride_c >= m && ldc >= stride_c * batches)) {
    return refuse(call, "the results of the batch overlap", kBlasInvalidValue);
  }
  return kBlasSuccess;
}

int multiply(Handle handle_value, const Call& call) {
  if (sticky_error()) return kBlasExecutionFailed;
  auto handle = blas_handles().find(handle_value);
  if (!handle) return refuse(call, "given what is no handle", kBlasNotInitialized);
  if (int status = check_call(call)) return status;
  if (handle->stream == 0) {
    return refuse(call, "the handle has no stream, and the default one is not emulated",
                  kBlasInvalidValue);
  }
  if (handle->device != current_device()) {
    return refuse(call, "the handle belongs to another device", kBlasInvalidValue);
  }
  if (handle->workspace_bytes == 0 && is_capturing(handle->stream)) {
    return refuse(call, "captured without a workspace of its own", kBlasAllocationFailed);
  }
  if (call.m == 0 || call.n == 0 || call.batches == 0) return kBlasSuccess;
  Gemm gemm;
  gemm.m = call.m;
  gemm.n = call.n;
  gemm.k = call.k;
  gemm.batches = call.batches;
  gemm.alpha = *static_cast<const float*>(call.alpha);
  gemm.beta = *static_cast<const float*>(call.beta);
  gemm.a = make_matrix(call.a, call.a_type, call.transa, call.m, call.k, call.lda, call.stride_a);
  gemm.b = make_matrix(call.b, call.b_type, call.transb, call.k, call.n, call.ldb, call.stride_b);
  gemm.c = make_matrix(call.c, call.c_type, false, call.m, call.n, call.ldc, call.stride_c);
  gemm.tf32 = gemm.a.type == DataType::kF32 && (call.compute_type == kCompute32FFastTf32 ||
                                                (handle->math_mode & 15) == kMathTf32);
  gemm.workspace = static_cast<unsigned char*>(handle->workspace);
  gemm.workspace_bytes = handle->workspace_bytes;
  std::string why;
  if (!has_valid_operands(gemm, why)) return refuse(call, why, kBlasInvalidValue);
  const int status = submit(call.function, handle->stream, std::make_unique<GemmOperation>(gemm));
  return status == kSuccess ? kBlasSuccess : kBlasExecutionFailed;
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cublasGemmEx(Handle handle, int transa, int transb, int m, int n, int k, const void* alpha,
                 const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
                 const void* beta, void* c, int c_type, int ldc, int compute_type, int algorithm) {
  return multiply(handle, {"cublasGemmEx", transa, transb, m, n, k, alpha, a, a_type, lda, 0, b,
                           b_type, ldb, 0, beta, c, c_type, ldc, 0, 1, compute_type, algorithm});
}

int cublasGemmStridedBatchedEx(Handle handle, int transa, int transb, int m, int n, int k,
                               const void* alpha, const void* a, int a_type, int lda,
                               long long stride_a, const void* b, int b_type, int ldb,
                               long long stride_b, const void* beta, void* c, int c_type, int ldc,
                               long long stride_c, int batches, int compute_type, int algorithm) {
  return multiply(handle, {"cublasGemmStridedBatchedEx", transa, transb, m, n, k, alpha, a, a_type,
                           lda, stride_a, b, b_type, ldb, stride_b, beta, c, c_type, ldc, stride_c,
                           batches, compute_type, algorithm});
}

}  // extern "C"
