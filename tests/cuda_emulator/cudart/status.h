// The statuses of the CUDA runtime that the emulator answers with, and how an API function ends.
#ifndef CUDA_EMULATOR_CUDART_STATUS_H
#define CUDA_EMULATOR_CUDART_STATUS_H

#include "../emulator.h"

namespace cuda_emulator {

// Values of cudaError_t.
enum Status : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kMemoryAllocation = 2,
  kInvalidConfiguration = 9,
  kInvalidPitchValue = 12,
  kInvalidMemcpyDirection = 21,
  kInsufficientDriver = 35,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidKernelImage = 200,
  kInvalidResourceHandle = 400,
  kSymbolNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchOutOfResources = 701,
  kLaunchTimeout = 702,
  kHostMemoryAlreadyRegistered = 712,
  kHostMemoryNotRegistered = 713,
  kMisalignedAddress = 716,
  kLaunchFailure = 719,
  kNotSupported = 801,
  kStreamCaptureUnsupported = 900,
  kStreamCaptureInvalidated = 901,
  kStreamCaptureMerge = 902,
  kStreamCaptureUnmatched = 903,
  kStreamCaptureUnjoined = 904,
  kStreamCaptureIsolation = 905,
  kCapturedEvent = 907,
  kStreamCaptureWrongThread = 908,
};

const char* status_name(int status);
const char* status_text(int status);

// Keeps a failure as the thread's last error (not-ready is no failure) and returns it.
int remember(int status);
int last_error();
void forget_last_error();

// The frame of an API function: a fault of the device fails every call that comes after it.
template <typename Body>
int api_call(Body body) {
  if (int fault = sticky_error()) return remember(fault);
  return remember(body());
}

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_STATUS_H
