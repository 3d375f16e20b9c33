// Device memory and host memory that devices can reach.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "devices.h"
#include "failures.h"
#include "misuse.h"
#include "status.h"
#include "stream.h"

namespace cuda_emulator {

namespace {

// What a context of the driver takes before the first allocation.
constexpr std::size_t kContextShare = 64;
constexpr std::size_t kGranularity = 512;

constexpr unsigned kHostPortable = 1;
constexpr unsigned kHostMapped = 2;
constexpr unsigned kHostReadOnly = 8;

std::size_t used_memory(int device) {
  std::size_t used = device_memory() / kContextShare;
  for (const Allocation& allocation : live_allocations()) {
    if (allocation.kind != MemoryKind::kDevice || allocation.device != device) continue;
    used += (allocation.bytes + kGranularity - 1) / kGranularity * kGranularity;
  }
  return used;
}

// Whether the process has mapped the whole range, writable if that is needed.
bool is_mapped(std::uintptr_t address, std::size_t bytes, bool writable) {
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  if (!maps) return false;
  std::uintptr_t reached = address;
  char line[512];
  while (reached < address + bytes && std::fgets(line, sizeof line, maps)) {
    std::uintptr_t begin, end;
    char permissions[5];
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &begin, &end, permissions) != 3) continue;
    if (reached < begin || reached >= end) continue;
    if (permissions[0] != 'r' || (writable && permissions[1] != 'w')) break;
    reached = end;
  }
  std::fclose(maps);
  return reached >= address + bytes;
}

int free_memory(const char* function, void* address, MemoryKind kind) {
  Allocation found;
  const bool known = find_allocation(address, found);
  if (known && !found.live) {
    misuse(function, "memory is freed twice");
    return kInvalidValue;
  }
  if (!known || found.kind != kind || found.address != reinterpret_cast<std::uintptr_t>(address)) {
    misuse(function, "given what is not the start of an allocation of its kind");
    return kInvalidValue;
  }
  if (kind != MemoryKind::kDevice) {
    Lock lock(runtime_mutex());
    if (is_host_memory_in_use(found.address, found.bytes)) {
      misuse(function, "host memory is freed while queued work uses it");
    }
  } else if (int status = drain_device(function, found.device)) {
    return status;
  }
  const bool freed =
      kind == MemoryKind::kRegisteredHost ? unregister_host(address) : release(address);
  return freed ? kSuccess : kInvalidValue;
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return api_call([&] {
    if (!free || !total) return kInvalidValue;
    *total = device_memory();
    *free = *total - used_memory(current_device());
    return kSuccess;
  });
}

int cudaMalloc(void** address, std::size_t bytes) {
  return api_call([&]() -> int {
    if (!address) return kInvalidValue;
    if (int status = refuse_during_capture("cudaMalloc")) return status;
    *address = nullptr;
    if (bytes == 0) return kSuccess;
    const int device = current_device();
    const std::size_t used = used_memory(device);
    const std::uint64_t limit = failure_value(Failure::kMemory, device);
    if (is_due(Failure::kAllocation, device)) return kMemoryAllocation;
    if (bytes > device_memory() - used) return kMemoryAllocation;
    if (limit != 0 && used + bytes > limit) return kMemoryAllocation;
    *address = allocate(bytes, MemoryKind::kDevice, device);
    return *address ? kSuccess : kMemoryAllocation;
  });
}

int cudaFree(void* address) {
  return api_call([&]() -> int {
    if (!address) return kSuccess;
    if (int status = refuse_during_capture("cudaFree")) return status;
    return free_memory("cudaFree", address, MemoryKind::kDevice);
  });
}

int cudaHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  return api_call([&]() -> int {
    if (!address || (flags & ~(kHostPortable | kHostMapped))) return kInvalidValue;
    if (int status = refuse_during_capture("cudaHostAlloc")) return status;
    *address = nullptr;
    if (bytes == 0) return kSuccess;
    if (is_due(Failure::kHostAllocation, current_device())) return kMemoryAllocation;
    *address = allocate(bytes, MemoryKind::kPinnedHost, current_device());
    return *address ? kSuccess : kMemoryAllocation;
  });
}

int cudaFreeHost(void* address) {
  return api_call([&]() -> int {
    if (!address) return kSuccess;
    if (int status = refuse_during_capture("cudaFreeHost")) return status;
    return free_memory("cudaFreeHost", address, MemoryKind::kPinnedHost);
  });
}

int cudaHostRegister(void* address, std::size_t bytes, unsigned flags) {
  return api_call([&]() -> int {
    if (!address || bytes == 0) return kInvalidValue;
    if (flags & ~(kHostPortable | kHostMapped | kHostReadOnly)) return kInvalidValue;
    if (int status = refuse_during_capture("cudaHostRegister")) return status;
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    if (!is_mapped(start, bytes, !(flags & kHostReadOnly))) return kInvalidValue;
    if (is_due(Failure::kHostRegistration, current_device())) return kMemoryAllocation;
    return register_host(address, bytes) ? kSuccess : kHostMemoryAlreadyRegistered;
  });
}

int cudaHostUnregister(void* address) {
  return api_call([&]() -> int {
    if (int status = refuse_during_capture("cudaHostUnregister")) return status;
    Allocation found;
    if (!find_allocation(address, found) || found.kind != MemoryKind::kRegisteredHost) {
      return kHostMemoryNotRegistered;
    }
    return free_memory("cudaHostUnregister", address, MemoryKind::kRegisteredHost);
  });
}

}  // extern "C"
