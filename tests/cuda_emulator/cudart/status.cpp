// Names and texts of statuses, and each thread's last error.
#include "status.h"

namespace cuda_emulator {

namespace {

struct StatusText {
  int status;
  const char* name;
  const char* text;
};

constexpr StatusText kTexts[] = {
    {kSuccess, "cudaSuccess", "no error"},
    {kInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {kMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {kInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {kInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {kInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {kInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {kNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {kInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {kInvalidKernelImage, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
    {kInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {kSymbolNotFound, "cudaErrorSymbolNotFound", "named symbol not found"},
    {kNotReady, "cudaErrorNotReady", "device not ready"},
    {kIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {kLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {kLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {kHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {kHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {kMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {kLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {kNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {kStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {kStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {kStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {kStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {kStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {kStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {kCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {kStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

const StatusText* find_text(int status) {
  for (const StatusText& entry : kTexts) {
    if (entry.status == status) return &entry;
  }
  return nullptr;
}

thread_local int thread_last_error = kSuccess;

}  // namespace

const char* status_name(int status) {
  const StatusText* entry = find_text(status);
  return entry ? entry->name : "unrecognized error code";
}

const char* status_text(int status) {
  const StatusText* entry = find_text(status);
  return entry ? entry->text : "unrecognized error code";
}

int remember(int status) {
  if (status != kSuccess && status != kNotReady) thread_last_error = status;
  return status;
}

int last_error() {
  // A fault cannot be forgotten: it is the last error of every thread.
  if (int fault = sticky_error()) return fault;
  return thread_last_error;
}

void forget_last_error() { thread_last_error = kSuccess; }

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

const char* cudaGetErrorName(int status) { return status_name(status); }

const char* cudaGetErrorString(int status) { return status_text(status); }

int cudaGetLastError() {
  int status = last_error();
  forget_last_error();
  return status;
}

int cudaPeekAtLastError() { return last_error(); }

}  // extern "C"
