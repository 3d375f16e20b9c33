// Loading kernels, their attributes, and launching them.
#include <algorithm>
#include <cstring>
#include <map>

#include "devices.h"
#include "failures.h"
#include "misuse.h"
#include "status.h"
#include "stream.h"

namespace cuda_emulator {

namespace {

constexpr int kMaxDynamicSharedMemorySize = 8;  // cudaFuncAttribute
constexpr int kSharedMemoryCarveout = 9;

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

HandleTable<LoadedLibrary>& libraries() {
  static auto& table = *new HandleTable<LoadedLibrary>("kernel library");
  return table;
}

// Kernels go with their library, so they cannot leak by themselves.
std::map<Handle, std::shared_ptr<LoadedKernel>>& kernels() {
  static auto& table = *new std::map<Handle, std::shared_ptr<LoadedKernel>>;
  return table;
}

std::shared_ptr<LoadedKernel> find_loaded(const char* function, Handle handle) {
  auto found = kernels().find(handle);
  if (found != kernels().end() && !found->second->library.expired()) return found->second;
  misuse(function, "given what is no kernel of a loaded library");
  return nullptr;
}

// cudaLaunchAttribute and cudaLaunchConfig_t.
struct LaunchAttribute {
  unsigned id;
  char padding[4];
  union {
    int number;
    char bytes[64];
  } value;
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  std::size_t shared_bytes;
  Handle stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};
static_assert(sizeof(LaunchConfig) == 56);

enum LaunchAttributeId : unsigned { kIgnore = 0, kProgrammaticStreamSerialization = 6 };

class LaunchOperation : public Operation {
 public:
  LaunchOperation(std::shared_ptr<LoadedLibrary> library, Launch launch,
                  std::vector<std::vector<unsigned char>> arguments)
      : library_(std::move(library)), launch_(launch), arguments_(std::move(arguments)) {}

  Progress advance() override {
    // Failures are asked for by the number of kernels that run, those of graphs included.
    if (!counted_) {
      counted_ = true;
      hangs_ = is_due(Failure::kHang, launch_.device);
      if (is_due(Failure::kLaunch, launch_.device)) {
        report(Fault::kLaunchFailure, std::string("injected failure of ") + launch_.kernel->name);
        return Progress::kDone;
      }
    }
    if (hangs_) return Progress::kNever;
    std::vector<void*> addresses;
    for (auto& argument : arguments_) addresses.push_back(argument.data());
    run_kernel(launch_, addresses.data());
    return Progress::kDone;
  }

  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<LaunchOperation>(library_, launch_, arguments_);
  }

 private:
  std::shared_ptr<LoadedLibrary> library_;
  Launch launch_;
  std::vector<std::vector<unsigned char>> arguments_;
  bool counted_ = false;
  bool hangs_ = false;
};

int check_attributes(const LaunchConfig& config) {
  if (config.attribute_count > 0 && !config.attributes) return kInvalidValue;
  for (unsigned index = 0; index < config.attribute_count; ++index) {
    const LaunchAttribute& attribute = config.attributes[index];
    if (attribute.id == kIgnore) continue;
    if (attribute.id != kProgrammaticStreamSerialization) {
      misuse("cudaLaunchKernelExC",
             "launch attribute " + std::to_string(attribute.id) + " is not emulated");
      return kNotSupported;
    }
    if (attribute.value.number != 0 && attribute.value.number != 1) return kInvalidValue;
  }
  return kSuccess;
}

int check_shape(const LaunchConfig& config, const LoadedKernel& kernel, int device) {
  const auto& [x, y, z] = config.block;
  const std::uint64_t threads = std::uint64_t{x} * y * z;
  if (threads == 0 || x > 1024 || y > 1024 || z > 64 || threads > kThreadsPerBlock) {
    return kInvalidConfiguration;
  }
  if (config.grid[0] == 0 || config.grid[0] > 0x7fffffff) return kInvalidConfiguration;
  for (int axis : {1, 2}) {
    if (config.grid[axis] == 0 || config.grid[axis] > 65535) return kInvalidConfiguration;
  }
  if (threads > kernel.kernel->max_threads) return kLaunchOutOfResources;
  const auto raised = kernel.max_dynamic_shared.find(device);
  const std::size_t limit = raised == kernel.max_dynamic_shared.end()
                                ? kSharedBytesPerBlock
                                : static_cast<std::size_t>(raised->second);
  return config.shared_bytes > limit ? kInvalidValue : kSuccess;
}

int launch(const LaunchConfig& config, const LoadedKernel& kernel, void** arguments) {
  const int device = stream_device(config.stream);
  if (device >= 0 && device != current_device()) {
    misuse("cudaLaunchKernelExC", "the stream belongs to another device than the current one");
    return kInvalidResourceHandle;
  }
  if (int status = check_attributes(config)) return status;
  if (int status = check_shape(config, kernel, current_device())) return status;
  const Kernel& table = *kernel.kernel;
  if (table.parameter_count > 0 && !arguments) return kInvalidValue;
  std::vector<std::vector<unsigned char>> values;
  for (unsigned index = 0; index < table.parameter_count; ++index) {
    const auto* value = static_cast<const unsigned char*>(arguments[index]);
    if (!value) return kInvalidValue;
    values.emplace_back(value, value + table.parameter_sizes[index]);
  }
  Launch shape = {};
  shape.kernel = &table;
  std::copy(std::begin(config.grid), std::end(config.grid), shape.grid);
  std::copy(std::begin(config.block), std::end(config.block), shape.block);
  shape.shared_bytes = static_cast<unsigned>(config.shared_bytes);
  shape.device = current_device();
  return submit("cudaLaunchKernelExC", config.stream,
                std::make_unique<LaunchOperation>(kernel.library.lock(), shape, std::move(values)));
}

}  // namespace

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

int cudaLaunchKernelExC(const LaunchConfig* config, Handle handle, void** arguments) {
  return api_call([&]() -> int {
    if (!config) return kInvalidValue;
    std::shared_ptr<LoadedKernel> kernel;
    {
      Lock lock(runtime_mutex());
      kernel = find_loaded("cudaLaunchKernelExC", handle);
    }
    if (!kernel) return kInvalidResourceHandle;
    return launch(*config, *kernel, arguments);
  });
}

}  // extern "C"
