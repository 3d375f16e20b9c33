// Loading kernels, and their attributes.
#include <algorithm>
#include <cstring>

#include "devices.h"
#include "kernels.h"
#include "misuse.h"
#include "status.h"
#include "stream.h"

namespace cuda_emulator {

namespace {

constexpr int kMaxDynamicSharedMemorySize = 8;  // cudaFuncAttribute
constexpr int kSharedMemoryCarveout = 9;

HandleTable<LoadedLibrary>& libraries() {
  static auto& table = *new HandleTable<LoadedLibrary>("kernel library");
  return table;
}

// Kernels go with their library, so they cannot leak by themselves.
std::map<Handle, std::shared_ptr<LoadedKernel>>& kernels() {
  static auto& table = *new std::map<Handle, std::shared_ptr<LoadedKernel>>;
  return table;
}

}  // namespace

std::shared_ptr<LoadedKernel> find_loaded(const char* function, Handle handle) {
  auto found = kernels().find(handle);
  if (found != kernels().end() && !found->second->library.expired()) return found->second;
  misuse(function, "given what is no kernel of a loaded library");
  return nullptr;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaLibraryLoadData(Handle* library, const void* code, void* jit_options, void** jit_values,
                        unsigned jit_count, void* library_options, void** library_values,
                        unsigned library_count) {
  return api_call([&]() -> int {
    if (!library || !code || jit_count != 0 || library_count != 0) return kInvalidValue;
    if (jit_options || jit_values || library_options || library_values) return kInvalidValue;
    if (int status = refuse_during_capture("cudaLibraryLoadData")) return status;
    std::string why;
    KernelImage* image = load_kernels(code, why);
    if (!image) {
      misuse("cudaLibraryLoadData", why);
      return kInvalidKernelImage;
    }
    *library = libraries().insert(std::make_shared<LoadedLibrary>(image));
    return kSuccess;
  });
}

int cudaLibraryGetKernel(Handle* kernel, Handle library_handle, const char* name) {
  return api_call([&]() -> int {
    auto library = libraries().find(library_handle);
    if (!kernel || !name) return kInvalidValue;
    if (!library) return kInvalidResourceHandle;
    const Kernel* found = find_kernel(library->image, name);
    if (!found) return kSymbolNotFound;
    Lock lock(runtime_mutex());
    const auto handle = reinterpret_cast<Handle>(found);
    auto& loaded = kernels()[handle];
    // An address may come back after its library is gone.
    if (!loaded || loaded->library.expired()) {
      loaded = std::make_shared<LoadedKernel>(LoadedKernel{library, found, {}});
    }
    *kernel = handle;
    return kSuccess;
  });
}

int cudaLibraryUnload(Handle handle) {
  return api_call([&]() -> int {
    auto library = libraries().remove(handle);
    if (!library) return kInvalidResourceHandle;
    // Whoever else holds it is a queued launch, or a graph that could be launched again.
    if (library.use_count() > 1) {
      misuse("cudaLibraryUnload", "queued launches or graphs still use its kernels");
    }
    return kSuccess;
  });
}

int cudaKernelSetAttributeForDevice(Handle handle, int attribute, int value, int device) {
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    auto kernel = find_loaded("cudaKernelSetAttributeForDevice", handle);
    if (!kernel) return kInvalidResourceHandle;
    if (!is_device(device)) return kInvalidDevice;
    if (attribute == kSharedMemoryCarveout) return value >= -1 && value <= 100 ? kSuccess : kInvalidValue;
    if (attribute != kMaxDynamicSharedMemorySize) return kInvalidValue;
    if (value < 0 || static_cast<std::size_t>(value) > kSharedBytesPerBlockOptIn) {
      return kInvalidValue;
    }
    kernel->max_dynamic_shared[device] = value;
    return kSuccess;
  });
}

int cudaFuncGetAttributes(void* attributes, Handle handle) {
  // cudaFuncAttributes up to numRegs.
  struct FunctionAttributes {
    std::size_t shared_bytes;
    std::size_t constant_bytes;
    std::size_t local_bytes;
    int max_threads;
    int registers;
  };
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    if (!attributes) return kInvalidValue;
    auto kernel = find_loaded("cudaFuncGetAttributes", handle);
    if (!kernel) return kInvalidResourceHandle;
    constexpr int kTypicalRegisters = 32;
    const FunctionAttributes known = {0, 0, 0, static_cast<int>(kernel->kernel->max_threads),
                                      kTypicalRegisters};
    std::memcpy(attributes, &known, sizeof known);
    return kSuccess;
  });
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Handle handle, int block_size,
                                                  std::size_t shared_bytes) {
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    if (!blocks || block_size <= 0) return kInvalidValue;
    auto kernel = find_loaded("cudaOccupancyMaxActiveBlocksPerMultiprocessor", handle);
    if (!kernel) return kInvalidResourceHandle;
    const int by_threads = block_size > static_cast<int>(kernel->kernel->max_threads)
                               ? 0
                               : kThreadsPerMultiprocessor / block_size;
    const int by_shared = static_cast<int>(kSharedBytesPerMultiprocessor /
                                           (shared_bytes + kReservedSharedBytesPerBlock));
    *blocks = std::min({by_threads, by_shared, kBlocksPerMultiprocessor});
    return kSuccess;
  });
}

}  // extern "C"
