// Memory that can be registered with all ranks of a communicator.
#include <map>

#include "../cudart/misuse.h"
#include "../emulator.h"
#include "calls.h"

// Of the emulated cudart.
extern "C" int cudaMalloc(void** address, std::size_t bytes);
extern "C" int cudaFree(void* address);

using namespace cuda_emulator;

namespace {

struct Window {
  std::weak_ptr<Communicator> communicator;
  const unsigned char* address;
  std::size_t bytes;
};

HandleTable<Window>& windows() {
  static auto& table = *new HandleTable<Window>("NCCL window");
  return table;
}

// What ncclMemAlloc gave: the allocation behind each address, which is aligned as windows need.
struct RegistrableMemory {
  std::mutex mutex;
  std::map<unsigned char*, void*> allocations;
};

RegistrableMemory& registrable() {
  static auto& memory = *new RegistrableMemory;
  return memory;
}

bool is_registrable(void* address) {
  Allocation found;
  if (!find_allocation(address, found) || !found.live) return false;
  std::lock_guard lock(registrable().mutex);
  for (const auto& [aligned, allocation] : registrable().allocations) {
    if (reinterpret_cast<std::uintptr_t>(allocation) == found.address) return true;
  }
  return false;
}

// Done when every rank has registered as much.
int finish_registration(Communicator& communicator, std::uint64_t number, std::size_t bytes) {
  for (int rank = 0; rank < communicator.ranks(); ++rank) {
    const RankSlot& slot = communicator.group().slot(rank);
    if (slot.registered < number) return kNcclInProgress;
    if (slot.window_bytes[number % 2] != bytes) {
      return refuse_call("ncclCommWindowRegister", "ranks register different sizes",
                         kNcclInvalidArgument);
    }
  }
  return kNcclSuccess;
}

}  // namespace

extern "C" {

int ncclMemAlloc(void** address, std::size_t bytes) {
  if (!address || bytes == 0) return kNcclInvalidArgument;
  void* allocation = nullptr;
  if (cudaMalloc(&allocation, bytes + kWindowAlignment) != 0) return kNcclUnhandledCudaError;
  const auto start = reinterpret_cast<std::uintptr_t>(allocation);
  *address = reinterpret_cast<void*>((start + kWindowAlignment - 1) / kWindowAlignment *
                                     kWindowAlignment);
  std::lock_guard lock(registrable().mutex);
  registrable().allocations[static_cast<unsigned char*>(*address)] = allocation;
  return kNcclSuccess;
}

int ncclMemFree(void* address) {
  void* allocation = nullptr;
  {
    std::lock_guard lock(registrable().mutex);
    auto found = registrable().allocations.find(static_cast<unsigned char*>(address));
    if (found == registrable().allocations.end()) {
      return refuse_call("ncclMemFree", "given what ncclMemAlloc did not give",
                         kNcclInvalidArgument);
    }
    allocation = found->second;
    registrable().allocations.erase(found);
  }
  for (const auto& window : windows().all()) {
    if (window->address == address && !window->communicator.expired()) {
      misuse("ncclMemFree", "the memory is still registered");
    }
  }
  return cudaFree(allocation) == 0 ? kNcclSuccess : kNcclUnhandledCudaError;
}

int ncclCommWindowRegister(Handle handle, void* address, std::size_t bytes, Handle* window,
                           int flags) {
  auto communicator = communicators().find(handle);
  std::string why;
  if (!communicator || !window) {
    return refuse_call("ncclCommWindowRegister", "given what is no communicator",
                       kNcclInvalidArgument);
  }
  if (flags != 0 && flags != kWindowSymmetric) {
    return refuse_call("ncclCommWindowRegister", "the flags are unknown", kNcclInvalidArgument);
  }
  if (!is_accessible(address, bytes, why)) {
    return refuse_call("ncclCommWindowRegister", why, kNcclInvalidArgument);
  }
  if (reinterpret_cast<std::uintptr_t>(address) % kWindowAlignment != 0 ||
      !is_registrable(address)) {
    return refuse_call("ncclCommWindowRegister",
                       "the memory is not of ncclMemAlloc, or not aligned to a page",
                       kNcclInvalidArgument);
  }
  if (communicator->is_busy()) {
    return refuse_call("ncclCommWindowRegister", "the last call is not done", kNcclInvalidArgument);
  }
  if (int status = communicator->async_error()) return status;
  const std::uint64_t number = ++communicator->windows;
  RankSlot& own = communicator->group().slot(communicator->rank());
  own.window_bytes[number % 2] = bytes;
  own.registered.store(number);
  return communicator->begin("ncclCommWindowRegister", [=, weak = std::weak_ptr(communicator)] {
    auto registering = weak.lock();
    if (!registering) return static_cast<int>(kNcclSuccess);
    const int status = finish_registration(*registering, number, bytes);
    if (status == kNcclSuccess) {
      *window = windows().insert(std::make_shared<Window>(
          Window{registering, static_cast<unsigned char*>(address), bytes}));
    }
    return status;
  });
}

int ncclCommWindowDeregister(Handle handle, Handle window_handle) {
  auto communicator = communicators().find(handle);
  auto window = windows().find(window_handle);
  if (!communicator || !window || window->communicator.lock() != communicator) {
    return refuse_call("ncclCommWindowDeregister", "given what is no window of the communicator",
                       kNcclInvalidArgument);
  }
  windows().remove(window_handle);
  return kNcclSuccess;
}

}  // extern "C"
