// Handles and their settings.
#include "../cudart/misuse.h"
#include "../cudart/operation.h"
#include "../cudart/status.h"
#include "blas_handle.h"

namespace cuda_emulator {

namespace {

constexpr int kMathPedantic = 2;
constexpr int kMathDisallowReducedPrecision = 16;
constexpr std::uintptr_t kWorkspaceAlignment = 256;

}  // namespace

HandleTable<BlasHandle>& blas_handles() {
  static auto& table = *new HandleTable<BlasHandle>("cuBLAS handle");
  return table;
}

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
  *handle = blas_handles().insert(std::move(created));
  return kBlasSuccess;
}

int cublasDestroy_v2(Handle value) {
  auto handle = blas_handles().find(value);
  if (!handle) return kBlasNotInitialized;
  if (refuse_during_capture("cublasDestroy")) return kBlasInvalidValue;
  const int status = drain_device("cublasDestroy", handle->device);
  blas_handles().remove(value);
  return status == kSuccess ? kBlasSuccess : kBlasExecutionFailed;
}

int cublasSetStream_v2(Handle value, Handle stream) {
  auto handle = blas_handles().find(value);
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
  auto handle = blas_handles().find(value);
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
  auto handle = blas_handles().find(value);
  if (!handle) return kBlasNotInitialized;
  const int base = mode & ~kMathDisallowReducedPrecision;
  if (base != 0 && base != kMathPedantic && base != kMathTf32) return kBlasInvalidValue;
  handle->math_mode = mode;
  return kBlasSuccess;
}

}  // extern "C"
