// The functions of cuBLAS that weft calls.
#include <map>

#include "../cudart/misuse.h"
#include "../cudart/status.h"
#include "gemm.h"

namespace cuda_emulator {

namespace {

// Values of cublasStatus_t.
enum BlasStatus : int {
  kBlasSuccess = 0,
  kBlasNotInitialized = 1,
  kBlasAllocationFailed = 3,
  kBlasInvalidValue = 7,
  kBlasExecutionFailed = 13,
  kBlasNotSupported = 15,
};

constexpr int kMathPedantic = 2;
constexpr int kMathTf32 = 3;
constexpr int kMathDisallowReducedPrecision = 16;
constexpr int kCompute32F = 68;
constexpr int kCompute32FPedantic = 69;
constexpr int kCompute32FFastTf32 = 77;
constexpr int kDefaultAlgorithm = -1;
constexpr std::uintptr_t kWorkspaceAlignment = 256;

struct BlasHandle {
  int device;
  Handle stream = 0;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  int math_mode = 0;
};

HandleTable<BlasHandle>& handles() {
  static auto& table = *new HandleTable<BlasHandle>("cuBLAS handle");
  return table;
}

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
  auto handle = handles().find(handle_value);
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

int cublasGetProperty(int property, int* value) {
  constexpr int kVersion[] = {13, 1, 0};
  if (property < 0 || property > 2 || !value) return kBlasInvalidValue;
  *value = kVersion[property];
  return kBlasSuccess;
}

const char* cublasGetStatusString(int status) {
  switch (status) {
    case kBlasSuccess: return "the operation completed successfully";
    case kBlasNotInitialized: return "the library was not initialized";
    case kBlasAllocationFailed: return "the resource allocation failed";
    case kBlasInvalidValue: return "an unsupported value or parameter was passed to the function";
    case kBlasExecutionFailed: return "the function failed to launch on the GPU";
    case kBlasNotSupported: return "the functionality requested is not supported";
    default: return "unknown cuBLAS status";
  }
}

int cublasCreate_v2(Handle* handle) {
  if (sticky_error()) return kBlasNotInitialized;
  if (!handle) return kBlasInvalidValue;
  if (refuse_during_capture("cublasCreate")) return kBlasNotInitialized;
  auto created = std::make_shared<BlasHandle>();
  created->device = current_device();
  *handle = handles().insert(std::move(created));
  return kBlasSuccess;
}

int cublasDestroy_v2(Handle value) {
  auto handle = handles().find(value);
  if (!handle) return kBlasNotInitialized;
  if (refuse_during_capture("cublasDestroy")) return kBlasInvalidValue;
  const int status = drain_device("cublasDestroy", handle->device);
  handles().remove(value);
  return status == kSuccess ? kBlasSuccess : kBlasExecutionFailed;
}

int cublasSetStream_v2(Handle value, Handle stream) {
  auto handle = handles().find(value);
  if (!handle) return kBlasNotInitialized;
  if (stream != 0 && stream_device(stream) != handle->device) {
    misuse("cublasSetStream", "given what is no stream of the handle's device");
    return kBlasInvalidValue;
  }
  handle->stream = stream;
  // As cuBLAS does, so that a workspace is never shared by two streams unknowingly.
  handle->workspace = nullptr;
  handle->workspace_bytes = 0;
  return kBlasSuccess;
}

int cublasSetWorkspace_v2(Handle value, void* workspace, std::size_t bytes) {
  auto handle = handles().find(value);
  if (!handle) return kBlasNotInitialized;
  std::string why;
  Allocation found;
  if (!is_accessible(workspace, bytes, why)) {
    misuse("cublasSetWorkspace", "the workspace is " + why);
    return kBlasInvalidValue;
  }
  if (!find_allocation(workspace, found) || found.kind != MemoryKind::kDevice ||
      found.device != handle->device ||
      reinterpret_cast<std::uintptr_t>(workspace) % kWorkspaceAlignment != 0) {
    misuse("cublasSetWorkspace",
           "the workspace is not memory of the handle's device, aligned to 256 bytes");
    return kBlasInvalidValue;
  }
  handle->workspace = workspace;
  handle->workspace_bytes = bytes;
  return kBlasSuccess;
}

int cublasSetMathMode(Handle value, int mode) {
  auto handle = handles().find(value);
  if (!handle) return kBlasNotInitialized;
  const int base = mode & ~kMathDisallowReducedPrecision;
  if (base != 0 && base != kMathPedantic && base != kMathTf32) return kBlasInvalidValue;
  handle->math_mode = mode;
  return kBlasSuccess;
}

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
