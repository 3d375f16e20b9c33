// Making, splitting and ending communicators.
#include <cstdlib>
#include <cstring>

#include "../cudart/devices.h"
#include "../cudart/misuse.h"
#include "../emulator.h"
#include "calls.h"
#include "split.h"

using namespace cuda_emulator;

namespace {

constexpr int kVersion = 23007;
constexpr unsigned kOldestConfig = 21700;

int check_config(const char* function, const NcclConfig* config) {
  if (!config) return kNcclSuccess;
  if (config->magic != kConfigMagic || config->version < kOldestConfig ||
      config->size < offsetof(NcclConfig, cga_cluster_size)) {
    return refuse_call(function, "the configuration is not initialised", kNcclInvalidArgument);
  }
  const int blocking = config->blocking;
  if (blocking != kUndefinedInt && blocking != 0 && blocking != 1) {
    return refuse_call(function, "blocking is neither 0 nor 1", kNcclInvalidArgument);
  }
  const int least = config->min_ctas;
  const int most = config->max_ctas;
  if ((least != kUndefinedInt && least <= 0) || (most != kUndefinedInt && most <= 0) ||
      (least != kUndefinedInt && most != kUndefinedInt && least > most)) {
    return refuse_call(function, "the bounds of CTAs are impossible", kNcclInvalidArgument);
  }
  return kNcclSuccess;
}

bool is_blocking(const NcclConfig* config, bool otherwise) {
  return config && config->blocking != kUndefinedInt ? config->blocking == 1 : otherwise;
}

int init_rank(const char* function, Handle* handle, int ranks, const NcclUniqueId& id, int rank,
              const NcclConfig* config) {
  if (!handle) return refuse_call(function, "the communicator is null", kNcclInvalidArgument);
  if (sticky_error()) return kNcclUnhandledCudaError;
  if (is_group_open()) return refuse_call(function, "not emulated in a group", kNcclInvalidUsage);
  if (int status = check_config(function, config)) return status;
  if (ranks < 1 || ranks > kMaxRanks || rank < 0 || rank >= ranks) {
    return refuse_call(function, "there cannot be such a rank", kNcclInvalidArgument);
  }
  if (refuse_during_capture(function)) return kNcclInvalidUsage;
  GroupName name;
  std::memcpy(&name, id.bytes, sizeof name);
  return join_group(function, handle, {name, rank, ranks, current_device(),
                                       is_blocking(config, true)});
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) {
  if (!version) return kNcclInvalidArgument;
  *version = kVersion;
  return kNcclSuccess;
}

const char* ncclGetErrorString(int result) {
  switch (result) {
    case kNcclSuccess: return "no error";
    case kNcclUnhandledCudaError: return "unhandled cuda error";
    case kNcclSystemError: return "unhandled system error";
    case kNcclInternalError: return "internal error";
    case kNcclInvalidArgument: return "invalid argument";
    case kNcclInvalidUsage: return "invalid usage";
    case kNcclRemoteError: return "remote process exited or there was a network error";
    case kNcclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(Handle handle) {
  static thread_local std::string text;
  auto communicator = communicators().find(handle);
  text = communicator ? communicator->last_error() : "";
  return text.c_str();
}

int ncclGetUniqueId(NcclUniqueId* id) {
  if (!id) return kNcclInvalidArgument;
  GroupName name;
  if (!SharedGroup::make(name)) return kNcclSystemError;
  std::memset(id->bytes, 0, sizeof id->bytes);
  std::memcpy(id->bytes, &name, sizeof name);
  return kNcclSuccess;
}

int ncclCommInitRankConfig(Handle* handle, int ranks, NcclUniqueId id, int rank,
                           NcclConfig* config) {
  return init_rank("ncclCommInitRankConfig", handle, ranks, id, rank, config);
}

int ncclCommInitRankScalable(Handle* handle, int ranks, int rank, int id_count, NcclUniqueId* ids,
                             NcclConfig* config) {
  if (id_count != 1 || !ids) {
    return refuse_call("ncclCommInitRankScalable", "only one id is emulated", kNcclInvalidArgument);
  }
  return init_rank("ncclCommInitRankScalable", handle, ranks, *ids, rank, config);
}

int ncclCommSplit(Handle handle, int color, int key, Handle* created, NcclConfig* config) {
  auto communicator = communicators().find(handle);
  if (!communicator || !created) {
    return refuse_call("ncclCommSplit", "given what is no communicator", kNcclInvalidArgument);
  }
  if (color < 0 && color != kNoColor) {
    return refuse_call("ncclCommSplit", "the color is negative", kNcclInvalidArgument);
  }
  if (int status = check_config("ncclCommSplit", config)) return status;
  if (communicator->is_busy()) {
    return refuse_call("ncclCommSplit", "the last call is not done", kNcclInvalidArgument);
  }
  if (int status = communicator->async_error()) return status;
  return split_communicator(communicator, color, key, created,
                            is_blocking(config, communicator->blocking()));
}

int ncclCommFinalize(Handle handle) {
  auto communicator = communicators().find(handle);
  if (!communicator) {
    return refuse_call("ncclCommFinalize", "given what is no communicator", kNcclInvalidArgument);
  }
  if (communicator->is_busy()) {
    return refuse_call("ncclCommFinalize", "the last call is not done", kNcclInvalidArgument);
  }
  if (int status = communicator->async_error()) return status;
  return communicator->begin("ncclCommFinalize", [weak = std::weak_ptr(communicator)] {
    auto ended = weak.lock();
    return !ended || ended->are_operations_done() ? kNcclSuccess : kNcclInProgress;
  });
}

int ncclCommDestroy(Handle handle) {
  auto communicator = communicators().remove(handle);
  if (!communicator) {
    return refuse_call("ncclCommDestroy", "given what is no communicator", kNcclInvalidArgument);
  }
  if (communicator->is_busy()) {
    misuse("ncclCommDestroy", "the last call is not done");
  } else if (!communicator->are_operations_done()) {
    misuse("ncclCommDestroy", "operations are still queued");
  } else if (communicator->recorded > 0) {
    misuse("ncclCommDestroy", "recordings hold operations, for whose end NCCL waits forever");
  }
  return kNcclSuccess;
}

int ncclCommAbort(Handle handle) {
  auto communicator = communicators().remove(handle);
  if (!communicator) {
    return refuse_call("ncclCommAbort", "given what is no communicator", kNcclInvalidArgument);
  }
  if (communicator->recorded > 0) {
    misuse("ncclCommAbort", "recordings hold operations, for whose end NCCL waits forever");
  }
  communicator->abort();
  return kNcclSuccess;
}

int ncclCommGetAsyncError(Handle handle, int* result) {
  auto communicator = communicators().find(handle);
  if (!communicator || !result) {
    return refuse_call("ncclCommGetAsyncError", "given what is no communicator",
                       kNcclInvalidArgument);
  }
  *result = communicator->async_error();
  return kNcclSuccess;
}

}  // extern "C"
