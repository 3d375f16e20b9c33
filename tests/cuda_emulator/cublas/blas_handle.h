// Handles of cuBLAS, and the statuses of its functions.
#ifndef CUDA_EMULATOR_CUBLAS_BLAS_HANDLE_H
#define CUDA_EMULATOR_CUBLAS_BLAS_HANDLE_H

#include "../cudart/handles.h"

namespace cuda_emulator {

// Values of cublasStatus_t.
enum BlasStatus : int {
  kBlasSuccess = 0,
  kBlasNotInitialized = 1,
  kBlasAllocationFailed = 3,
  kBlasInvalidValue = 7,
  kBlasExecutionFailed = 13,
  kBlasNotSupported = 15,
};

constexpr int kMathTf32 = 3;  // of cublasMath_t

struct BlasHandle {
  int device;
  Handle stream = 0;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  int math_mode = 0;
};

HandleTable<BlasHandle>& blas_handles();

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUBLAS_BLAS_HANDLE_H
