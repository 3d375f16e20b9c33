// Captures of streams, and the graphs that they make.
#ifndef CUDA_EMULATOR_CUDART_CAPTURE_H
#define CUDA_EMULATOR_CUDART_CAPTURE_H

#include <map>
#include <thread>

#include "stream.h"

namespace cuda_emulator {

// Values of cudaStreamCaptureMode.
enum class CaptureMode : int { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

struct GraphNode {
  std::shared_ptr<const Operation> operation;
  std::vector<std::size_t> dependencies;  // indices of earlier nodes
};

struct Graph {
  int device;
  std::vector<GraphNode> nodes;
};

struct Capture {
  CaptureMode mode;
  std::thread::id thread;
  std::weak_ptr<Stream> origin;
  bool invalid = false;
  std::shared_ptr<Graph> graph;
  // For each stream that takes part, the nodes that its next node comes after.
  std::map<std::shared_ptr<Stream>, std::vector<std::size_t>> ends;
};

// Under the runtime's lock:

// Adds the operation behind the stream's last node. Returns a cudaError_t.
int capture_operation(Stream& stream, std::unique_ptr<Operation> operation);
int capture_event_record(Stream& stream, Event& event);
// Lets the stream, which joins the event's capture when it has none, come after the event.
int capture_event_wait(const std::shared_ptr<Stream>& stream, const Event& event);

int begin_capture(const std::shared_ptr<Stream>& stream, CaptureMode mode);
int end_capture(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph);
// Ends the stream's capture if it has one; what it has captured is lost.
int invalidate_capture(Stream& stream);
void forget_captures();

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_CAPTURE_H
