#include "capture.h"

#include <algorithm>

#include "misuse.h"
#include "status.h"

namespace cuda_emulator {

namespace {

std::vector<std::shared_ptr<Capture>>& active_captures() {
  static auto& captures = *new std::vector<std::shared_ptr<Capture>>;
  return captures;
}

void merge(std::vector<std::size_t>& into, const std::vector<std::size_t>& from) {
  for (std::size_t node : from) {
    if (std::find(into.begin(), into.end(), node) == into.end()) into.push_back(node);
  }
}

// Whether every node comes before the end of the stream that the capture began in.
bool is_joined(const Capture& capture, const std::vector<std::size_t>& origin_end) {
  const auto& nodes = capture.graph->nodes;
  std::vector<bool> reached(nodes.size());
  std::vector<std::size_t> open = origin_end;
  while (!open.empty()) {
    std::size_t node = open.back();
    open.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    open.insert(open.end(), nodes[node].dependencies.begin(), nodes[node].dependencies.end());
  }
  return std::find(reached.begin(), reached.end(), false) == reached.end();
}

}  // namespace

int capture_operation(Stream& stream, std::unique_ptr<Operation> operation) {
  Capture& capture = *stream.capture;
  if (capture.invalid) return kStreamCaptureInvalidated;
  for (auto& [member, end] : capture.ends) {
    if (member.get() != &stream) continue;
    capture.graph->nodes.push_back({std::move(operation), end});
    end = {capture.graph->nodes.size() - 1};
  }
  return kSuccess;
}

int capture_event_record(Stream& stream, Event& event) {
  if (stream.capture->invalid) return kStreamCaptureInvalidated;
  event.point = nullptr;
  event.capture = stream.capture;
  event.recorded_in_capture = true;
  for (const auto& [member, end] : stream.capture->ends) {
    if (member.get() == &stream) event.captured_nodes = end;
  }
  return kSuccess;
}

int capture_event_wait(const std::shared_ptr<Stream>& stream, const Event& event) {
  std::shared_ptr<Capture> capture = event.capture.lock();
  if (!event.recorded_in_capture) {
    // Work outside the capture would not be there when the graph runs.
    if (event.point == nullptr) return kSuccess;
    invalidate_capture(*stream);
    return kStreamCaptureIsolation;
  }
  if (!capture || capture->invalid) return kStreamCaptureInvalidated;
  if (stream->capture && stream->capture != capture) {
    invalidate_capture(*stream);
    capture->invalid = true;
    return kStreamCaptureMerge;
  }
  stream->capture = capture;
  merge(capture->ends[stream], event.captured_nodes);
  return kSuccess;
}

int begin_capture(const std::shared_ptr<Stream>& stream, CaptureMode mode) {
  auto capture = std::make_shared<Capture>();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = stream;
  capture->graph = std::make_shared<Graph>();
  capture->graph->device = stream->device;
  capture->ends[stream] = {};
  stream->capture = capture;
  active_captures().push_back(std::move(capture));
  return kSuccess;
}

int end_capture(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph) {
  std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin.lock() != stream) {
    capture->invalid = true;
    return kStreamCaptureUnmatched;
  }
  if (capture->mode != CaptureMode::kRelaxed && capture->thread != std::this_thread::get_id()) {
    capture->invalid = true;
    return kStreamCaptureWrongThread;
  }
  const bool joined = is_joined(*capture, capture->ends[stream]);
  for (auto& [member, end] : capture->ends) member->capture = nullptr;
  capture->ends.clear();
  std::erase(active_captures(), capture);
  if (capture->invalid) return kStreamCaptureInvalidated;
  if (!joined) return kStreamCaptureUnjoined;
  graph = capture->graph;
  return kSuccess;
}

int invalidate_capture(Stream& stream) {
  if (!stream.capture) return kSuccess;
  stream.capture->invalid = true;
  return kStreamCaptureUnsupported;
}

void forget_captures() {
  for (const auto& capture : active_captures()) {
    for (auto& [member, end] : capture->ends) member->capture = nullptr;
    capture->ends.clear();
  }
  active_captures().clear();
}

int refuse_during_capture(const char* function) {
  Lock lock(runtime_mutex());
  bool refused = false;
  for (const auto& capture : active_captures()) {
    if (capture->mode == CaptureMode::kRelaxed) continue;
    if (capture->mode == CaptureMode::kThreadLocal &&
        capture->thread != std::this_thread::get_id()) {
      continue;
    }
    capture->invalid = true;
    refused = true;
  }
  if (!refused) return kSuccess;
  misuse(function, "called while a stream is captured");
  return kStreamCaptureUnsupported;
}

int submit(const char* function, Handle handle, std::unique_ptr<Operation> operation) {
  Lock lock(runtime_mutex());
  auto stream = streams().find(handle);
  if (!stream) {
    misuse(function, handle == 0 ? "uses the default stream, which is not emulated"
                                 : "given what is no stream");
    return kInvalidResourceHandle;
  }
  if (stream->capture) return capture_operation(*stream, std::move(operation));
  enqueue(stream, {std::move(operation), nullptr, nullptr});
  return kSuccess;
}

std::uint64_t stream_position(Handle handle) {
  Lock lock(runtime_mutex());
  auto stream = streams().find(handle);
  if (!stream) return 0;
  return stream->capture ? stream->capture->graph->nodes.size() : stream->submitted;
}

bool is_capturing(Handle handle) {
  Lock lock(runtime_mutex());
  auto stream = streams().find(handle);
  return stream && stream->capture;
}

}  // namespace cuda_emulator
