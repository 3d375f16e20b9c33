// Launching kernels.
#include <algorithm>

#include "devices.h"
#include "failures.h"
#include "kernels.h"
#include "misuse.h"
#include "status.h"
#include "stream.h"

namespace cuda_emulator {

namespace {

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
