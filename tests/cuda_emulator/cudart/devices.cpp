#include "devices.h"

#include <cstdlib>
#include <cstring>

#include "operation.h"
#include "status.h"

namespace cuda_emulator {

namespace {

// Few, so that a kernel that fills the device has few blocks to emulate.
constexpr int kMultiprocessors = 4;
constexpr int kCudaVersion = 13000;

thread_local int thread_device = 0;

std::size_t environment_number(const char* name, std::size_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// cudaDeviceProp of CUDA 13 up to totalGlobalMem; what follows is left zero.
struct DeviceProperties {
  char name[256];
  char uuid[16];
  char luid[8];
  unsigned luid_device_node_mask;
  std::size_t total_global_memory;
};

struct Attribute {
  int id;  // cudaDeviceAttr
  int value;
};

// Those of an H100 where a size decides whether a kernel may run.
constexpr Attribute kAttributes[] = {
    {1, kThreadsPerBlock},
    {2, 1024}, {3, 1024}, {4, 64},               // block dimensions
    {5, 0x7fffffff}, {6, 65535}, {7, 65535},     // grid dimensions
    {8, kSharedBytesPerBlock},
    {10, 32},                                    // warp size
    {12, 65536},                                 // registers of a block
    {13, 1'000'000},                             // clock rate in kHz
    {16, kMultiprocessors},
    {36, 1'000'000},                             // memory clock rate in kHz
    {37, 512},                                   // bits of the memory bus
    {38, 1 << 20},                               // bytes of L2
    {39, kThreadsPerMultiprocessor},
    {41, 1},                                     // unified addressing
    {75, 9}, {76, 0},                            // compute capability
    {81, kSharedBytesPerMultiprocessor},
    {82, 65536},                                 // registers of a multiprocessor
    {97, kSharedBytesPerBlockOptIn},
    {106, kBlocksPerMultiprocessor},
    {111, kReservedSharedBytesPerBlock},
    {113, 1},                                    // read-only cudaHostRegister
};

}  // namespace

int device_count() { return static_cast<int>(environment_number("WEFT_EMULATED_GPUS", 8)); }

bool is_device(int device) { return device >= 0 && device < device_count(); }

std::size_t device_memory() {
  return environment_number("WEFT_EMULATED_GPU_MEMORY", std::size_t{1} << 30);
}

int current_device() { return thread_device; }

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaRuntimeGetVersion(int* version) {
  if (!version) return remember(kInvalidValue);
  *version = kCudaVersion;
  return kSuccess;
}

int cudaDriverGetVersion(int* version) {
  if (!version) return remember(kInvalidValue);
  *version = kCudaVersion;
  return kSuccess;
}

int cudaGetDeviceCount(int* count) {
  if (!count) return remember(kInvalidValue);
  *count = device_count();
  return remember(*count == 0 ? kNoDevice : kSuccess);
}

int cudaSetDevice(int device) {
  return api_call([&] {
    if (!is_device(device)) return kInvalidDevice;
    thread_device = device;
    return kSuccess;
  });
}

int cudaGetDevice(int* device) {
  return api_call([&] {
    if (!device) return kInvalidValue;
    *device = thread_device;
    return kSuccess;
  });
}

int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  return api_call([&] {
    if (!value) return kInvalidValue;
    if (!is_device(device)) return kInvalidDevice;
    for (const Attribute& known : kAttributes) {
      if (known.id != attribute) continue;
      *value = known.value;
      return kSuccess;
    }
    return kInvalidValue;
  });
}

int cudaGetDeviceProperties(void* properties, int device) {
  return api_call([&] {
    if (!properties) return kInvalidValue;
    if (!is_device(device)) return kInvalidDevice;
    DeviceProperties known = {};
    std::strcpy(known.name, "Emulated GPU");
    known.total_global_memory = device_memory();
    std::memcpy(properties, &known, sizeof known);
    return kSuccess;
  });
}

}  // extern "C"
