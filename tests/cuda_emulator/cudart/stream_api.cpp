// Streams and events.
#include "capture.h"
#include "misuse.h"
#include "status.h"

namespace cuda_emulator {

namespace {

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDisableTiming = 2;

int unknown_handle(const char* function, const char* kind) {
  misuse(function, std::string("given what is no ") + kind);
  return kInvalidResourceHandle;
}

// Lets work run after some early queries, up to `position`.
int query(const std::shared_ptr<Stream>& stream, std::uint64_t position, int& early_queries,
          Lock& lock) {
  if (early_queries++ < kEarlyQueries) return kNotReady;
  if (run_until(stream, position, lock) != Progress::kDone) return kNotReady;
  return sticky_error();
}

// Whether no stream of the device has work left.
bool is_idle(int device) {
  for (const auto& stream : streams().all()) {
    if (stream->device == device && stream->completed != stream->submitted) return false;
  }
  return true;
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaStreamCreateWithFlags(Handle* stream, unsigned flags) {
  return api_call([&]() -> int {
    // A blocking stream would be ordered with the default stream, which is not emulated.
    if (!stream || flags != kStreamNonBlocking) return kInvalidValue;
    auto created = std::make_shared<Stream>();
    created->device = current_device();
    *stream = streams().insert(std::move(created));
    return kSuccess;
  });
}

int cudaStreamDestroy(Handle handle) {
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamDestroy", "stream");
    if (stream->capture) return invalidate_capture(*stream);
    streams().remove(handle);
    return kSuccess;
  });
}

int cudaStreamQuery(Handle handle) {
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamQuery", "stream");
    if (stream->capture) return invalidate_capture(*stream);
    const int status =
        stream->completed == stream->submitted
            ? kSuccess
            : query(stream, stream->submitted, stream->early_queries, lock);
    if (status == kSuccess && stream->settled != stream->completed && is_idle(stream->device)) {
      settle_writes(stream->device);
      stream->settled = stream->completed;
    }
    return status;
  });
}

int cudaStreamSynchronize(Handle handle) {
  return api_call([&]() -> int {
    if (int status = refuse_during_capture("cudaStreamSynchronize")) return status;
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamSynchronize", "stream");
    if (stream->capture) return invalidate_capture(*stream);
    return synchronize("cudaStreamSynchronize", stream, stream->submitted, lock);
  });
}

int cudaStreamWaitEvent(Handle handle, Handle event_handle, unsigned flags) {
  return api_call([&]() -> int {
    if (flags != 0) return kInvalidValue;
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    auto event = events().find(event_handle);
    if (!stream) return unknown_handle("cudaStreamWaitEvent", "stream");
    if (!event) return unknown_handle("cudaStreamWaitEvent", "event");
    if (stream->capture || event->recorded_in_capture) return capture_event_wait(stream, *event);
    if (event->point) enqueue(stream, {nullptr, nullptr, event->point});
    return kSuccess;
  });
}

int cudaEventCreateWithFlags(Handle* event, unsigned flags) {
  return api_call([&]() -> int {
    if (!event || (flags & ~kEventDisableTiming)) return kInvalidValue;
    auto created = std::make_shared<Event>();
    created->device = current_device();
    created->has_timing = !(flags & kEventDisableTiming);
    *event = events().insert(std::move(created));
    return kSuccess;
  });
}

int cudaEventDestroy(Handle handle) {
  return api_call([&]() -> int {
    if (!events().remove(handle)) return unknown_handle("cudaEventDestroy", "event");
    return kSuccess;
  });
}

int cudaEventRecord(Handle event_handle, Handle handle) {
  return api_call([&]() -> int {
    Lock lock(runtime_mutex());
    auto event = events().find(event_handle);
    auto stream = streams().find(handle);
    if (!event) return unknown_handle("cudaEventRecord", "event");
    if (!stream) return unknown_handle("cudaEventRecord", "stream");
    if (event->device != stream->device) {
      misuse("cudaEventRecord", "event and stream belong to different devices");
      return kInvalidResourceHandle;
    }
    if (stream->capture) return capture_event_record(*stream, *event);
    event->recorded_in_capture = false;
    event->point = std::make_shared<EventPoint>();
    enqueue(stream, {nullptr, event->point, nullptr});
    return kSuccess;
  });
}

int cudaEventQuery(Handle handle) {
  return api_call([&]() -> int {
    if (int status = refuse_during_capture("cudaEventQuery")) return status;
    Lock lock(runtime_mutex());
    auto event = events().find(handle);
    if (!event) return unknown_handle("cudaEventQuery", "event");
    if (event->recorded_in_capture) return kCapturedEvent;
    // The event may be recorded anew while the lock is given up.
    std::shared_ptr<EventPoint> point = event->point;
    if (!point || point->complete) return kSuccess;
    return query(point->stream.lock(), point->position, point->early_queries, lock);
  });
}

int cudaEventElapsedTime(float* milliseconds, Handle start_handle, Handle end_handle) {
  return api_call([&]() -> int {
    if (!milliseconds) return kInvalidValue;
    Lock lock(runtime_mutex());
    auto start = events().find(start_handle);
    auto end = events().find(end_handle);
    if (!start || !end) return unknown_handle("cudaEventElapsedTime", "event");
    for (const auto& event : {start, end}) {
      if (!event->has_timing || !event->point) return kInvalidResourceHandle;
      if (!event->point->complete) return kNotReady;
    }
    const std::chrono::duration<float, std::milli> elapsed = end->point->time - start->point->time;
    *milliseconds = elapsed.count();
    return kSuccess;
  });
}

}  // extern "C"
