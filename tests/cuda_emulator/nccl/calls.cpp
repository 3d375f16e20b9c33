#include "calls.h"

#include <algorithm>

#include "../cudart/misuse.h"
#include "../cudart/status.h"
#include "../emulator.h"

namespace cuda_emulator {

namespace {

// One collective, or all sends and receives of a group that share communicator and stream.
struct Batch {
  const char* function;
  std::shared_ptr<Communicator> communicator;
  Handle stream;
  std::vector<Call> calls;
};

struct OpenGroup {
  int depth = 0;
  int status = kNcclSuccess;  // of the first call that failed
  std::vector<Batch> batches;
};

thread_local OpenGroup thread_group;

bool is_message(const Call& call) {
  return call.kind == Kind::kSend || call.kind == Kind::kReceive;
}

// Puts a batch into its stream; connects the ranks before when they never did this.
int queue_batch(const Batch& batch) {
  auto operation = std::make_shared<Communication>(batch.communicator, batch.calls);
  auto queue = [function = batch.function, stream = batch.stream, operation] {
    return submit(function, stream, operation->clone()) == kSuccess ? kNcclSuccess
                                                                    : kNcclUnhandledCudaError;
  };
  bool connects = false;
  for (const Call& call : batch.calls) {
    connects |= batch.communicator->needs_connection(is_message(call) ? call.peer : -1);
  }
  if (!connects) return queue();
  // The operation is put into the stream from the background: work that comes to the stream before
  // that is done would run too early.
  const std::uint64_t position = stream_position(batch.stream);
  return batch.communicator->begin(batch.function, [=, function = batch.function,
                                                    stream = batch.stream] {
    if (stream_position(stream) != position) {
      misuse(function, "its stream was used before ncclCommGetAsyncError said that it is queued");
    }
    return queue();
  });
}

int check_memory(const char* function, const void* address, std::size_t bytes, int device) {
  if (bytes == 0) return kNcclSuccess;
  std::string why;
  Allocation found;
  if (!is_accessible(address, bytes, why)) return refuse_call(function, why, kNcclInvalidArgument);
  if (find_allocation(address, found) &&
      (found.kind != MemoryKind::kDevice || found.device != device)) {
    return refuse_call(function, "given memory that is not of the communicator's device",
                       kNcclInvalidArgument);
  }
  return kNcclSuccess;
}

// Source and destination may be the same where NCCL allows it, and may not overlap otherwise.
bool overlaps_wrongly(const Call& call, const Communicator& communicator) {
  const std::size_t source = source_bytes(call, communicator);
  const std::size_t destination = destination_bytes(call, communicator);
  if (source == 0 || destination == 0) return false;
  if (call.source + source <= call.destination || call.destination + destination <= call.source) {
    return false;
  }
  const std::size_t offset = call.count * nccl_size_of(call.type) *
                             static_cast<std::size_t>(communicator.rank());
  if (call.kind == Kind::kAllGather) return call.source != call.destination + offset;
  if (call.kind == Kind::kReduceScatter) return call.destination != call.source + offset;
  return call.source != call.destination;
}

int check_call(const char* function, Communicator& communicator, Handle stream, const Call& call) {
  if (!is_nccl_type(static_cast<int>(call.type))) {
    return refuse_call(function, "the type is unknown", kNcclInvalidArgument);
  }
  const int reduction = static_cast<int>(call.reduction);
  if (reduction < 0 || reduction > static_cast<int>(NcclReduction::kAverage)) {
    return refuse_call(function, "the reduction is unknown", kNcclInvalidArgument);
  }
  if (call.peer < 0 || call.peer >= communicator.ranks()) {
    return refuse_call(function, "there is no such rank", kNcclInvalidArgument);
  }
  if (call.count > kMessageBytes) {
    return refuse_call(function, "longer than what is emulated", kNcclInvalidUsage);
  }
  const std::size_t source = source_bytes(call, communicator);
  const std::size_t destination = destination_bytes(call, communicator);
  if (source > kMessageBytes) {
    return refuse_call(function, "longer than what is emulated", kNcclInvalidUsage);
  }
  if (int status = check_memory(function, call.source, source, communicator.device())) {
    return status;
  }
  if (int status = check_memory(function, call.destination, destination, communicator.device())) {
    return status;
  }
  if (overlaps_wrongly(call, communicator)) {
    return refuse_call(function, "its buffers overlap", kNcclInvalidArgument);
  }
  if (stream_device(stream) != communicator.device()) {
    return refuse_call(function, "given what is no stream of the communicator's device",
                       kNcclInvalidArgument);
  }
  return kNcclSuccess;
}

// Adds the call to the batches of the open group.
void add_to_group(const char* function, const std::shared_ptr<Communicator>& communicator,
                  Handle stream, const Call& call) {
  auto& batches = thread_group.batches;
  auto found = std::find_if(batches.begin(), batches.end(), [&](const Batch& batch) {
    return is_message(call) && is_message(batch.calls[0]) && batch.communicator == communicator &&
           batch.stream == stream;
  });
  if (found != batches.end()) {
    found->calls.push_back(call);
  } else {
    batches.push_back({function, communicator, stream, {call}});
  }
}

}  // namespace

HandleTable<Communicator>& communicators() {
  static auto& table = *new HandleTable<Communicator>("NCCL communicator");
  return table;
}

int refuse_call(const char* function, const std::string& why, int status) {
  misuse(function, why);
  return status;
}

int make_call(const char* function, Handle handle, Handle stream, const Call& call) {
  auto communicator = communicators().find(handle);
  int status = kNcclSuccess;
  if (sticky_error()) {
    status = kNcclUnhandledCudaError;
  } else if (!communicator) {
    status = refuse_call(function, "given what is no communicator", kNcclInvalidArgument);
  } else if (communicator->is_busy()) {
    status = refuse_call(function, "called before ncclCommGetAsyncError said that the last call is done",
                         kNcclInvalidArgument);
  } else {
    status = communicator->async_error();
    if (status == kNcclSuccess) status = check_call(function, *communicator, stream, call);
  }
  if (status != kNcclSuccess) {
    if (is_group_open() && thread_group.status == kNcclSuccess) thread_group.status = status;
    return status;
  }
  if (call.count == 0) return kNcclSuccess;
  if (!is_group_open()) return queue_batch({function, communicator, stream, {call}});
  add_to_group(function, communicator, stream, call);
  return kNcclSuccess;
}

bool is_group_open() { return thread_group.depth > 0; }

int start_group() {
  ++thread_group.depth;
  return kNcclSuccess;
}

int end_group() {
  if (!is_group_open()) {
    return refuse_call("ncclGroupEnd", "there is no open group", kNcclInvalidUsage);
  }
  if (--thread_group.depth > 0) return kNcclSuccess;
  const OpenGroup group = std::exchange(thread_group, {});
  if (group.status != kNcclSuccess) return group.status;
  int result = kNcclSuccess;
  for (const Batch& batch : group.batches) {
    if (batch.communicator->is_busy()) {
      return refuse_call("ncclGroupEnd", "a group that connects ranks may have one batch only",
                         kNcclInvalidUsage);
    }
    const int status = queue_batch(batch);
    if (status != kNcclSuccess && status != kNcclInProgress) return status;
    if (status == kNcclInProgress) result = status;
  }
  return result;
}

}  // namespace cuda_emulator
