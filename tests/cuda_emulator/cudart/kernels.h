// Kernels that are loaded.
#ifndef CUDA_EMULATOR_CUDART_KERNELS_H
#define CUDA_EMULATOR_CUDART_KERNELS_H

#include <map>
#include <memory>
#include <string>

#include "../emulator.h"
#include "handles.h"

namespace cuda_emulator {

struct LoadedLibrary {
  explicit LoadedLibrary(KernelImage* loaded) : image(loaded) {}
  LoadedLibrary(const LoadedLibrary&) = delete;
  LoadedLibrary& operator=(const LoadedLibrary&) = delete;
  ~LoadedLibrary() { unload_kernels(image); }

  KernelImage* image;
  std::map<std::string, Handle> kernels;
};

struct LoadedKernel {
  std::weak_ptr<LoadedLibrary> library;
  const Kernel* kernel;
  std::map<int, int> max_dynamic_shared;  // bytes by device, where it was raised
};

// Under the runtime's lock: the kernel of a library that is still loaded; null, and misuse, otherwise.
std::shared_ptr<LoadedKernel> find_loaded(const char* function, Handle handle);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_KERNELS_H
