// Capturing streams, and running what was captured.
#include <algorithm>
#include <atomic>
#include <random>

#include "capture.h"
#include "failures.h"
#include "misuse.h"
#include "status.h"

namespace cuda_emulator {

namespace {

struct GraphExecutable {
  std::shared_ptr<const Graph> graph;
  std::atomic<int> queued_launches = 0;
  std::weak_ptr<Stream> last_stream;
  std::mt19937 random{0x5eed};
};

HandleTable<Graph>& graphs() {
  static auto& table = *new HandleTable<Graph>("graph");
  return table;
}

HandleTable<GraphExecutable>& executables() {
  static auto& table = *new HandleTable<GraphExecutable>("executable graph");
  return table;
}

// Runs a graph's nodes: any order that the dependencies allow may be the GPU's, so one is drawn.
class GraphLaunch : public Operation {
 public:
  explicit GraphLaunch(std::shared_ptr<GraphExecutable> executable)
      : executable_(std::move(executable)),
        hangs_(is_due(Failure::kHang, executable_->graph->device)) {
    for (const GraphNode& node : executable_->graph->nodes) {
      operations_.push_back(node.operation->clone());
      missing_.push_back(node.dependencies.size());
    }
    for (std::size_t node = 0; node < missing_.size(); ++node) {
      if (missing_[node] == 0) ready_.push_back(node);
    }
    ++executable_->queued_launches;
  }

  ~GraphLaunch() override { --executable_->queued_launches; }

  Progress advance() override {
    if (hangs_) return Progress::kNever;
    while (!ready_.empty()) {
      Progress worst = Progress::kDone;
      bool moved = false;
      std::shuffle(ready_.begin(), ready_.end(), executable_->random);
      for (std::size_t index = 0; index < ready_.size() && !moved; ++index) {
        const Progress progress = operations_[ready_[index]]->advance();
        if (progress == Progress::kDone) {
          finish(index);
          moved = true;
        } else {
          worst = std::max(worst, progress);
        }
      }
      if (!moved) return worst;
    }
    return Progress::kDone;
  }

  // Graphs inside graphs are not captured.
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<GraphLaunch>(executable_);
  }

  void queued(const Ticket& ticket) override {
    for (const auto& operation : operations_) operation->queued(ticket);
  }

  bool uses_host_memory(std::uintptr_t address, std::size_t bytes) const override {
    return std::any_of(operations_.begin(), operations_.end(), [&](const auto& operation) {
      return operation->uses_host_memory(address, bytes);
    });
  }

 private:
  void finish(std::size_t index) {
    const std::size_t finished = ready_[index];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(index));
    const auto& nodes = executable_->graph->nodes;
    for (std::size_t node = finished + 1; node < nodes.size(); ++node) {
      const auto& dependencies = nodes[node].dependencies;
      if (std::find(dependencies.begin(), dependencies.end(), finished) == dependencies.end()) {
        continue;
      }
      if (--missing_[node] == 0) ready_.push_back(node);
    }
  }

  std::shared_ptr<GraphExecutable> executable_;
  bool hangs_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<std::size_t> missing_;  // dependencies of a node that are not done
  std::vector<std::size_t> ready_;
};

int unknown_handle(const char* function, const char* kind) {
  misuse(function, std::string("given what is no ") + kind);
  return kInvalidValue;
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaStreamBeginCapture(Handle handle, int mode) {
  return api_call([&]() -> int {
    if (mode < 0 || mode > static_cast<int>(CaptureMode::kRelaxed)) return kInvalidValue;
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamBeginCapture", "stream");
    if (stream->capture) return invalidate_capture(*stream);
    return begin_capture(stream, static_cast<CaptureMode>(mode));
  });
}

int cudaStreamEndCapture(Handle handle, Handle* graph) {
  return api_call([&]() -> int {
    if (!graph) return kInvalidValue;
    *graph = 0;
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamEndCapture", "stream");
    if (!stream->capture) return kInvalidValue;
    std::shared_ptr<Graph> captured;
    if (int status = end_capture(stream, captured)) return status;
    *graph = graphs().insert(std::move(captured));
    return kSuccess;
  });
}

int cudaStreamIsCapturing(Handle handle, int* state) {
  return api_call([&]() -> int {
    enum { kNone = 0, kActive = 1, kInvalidated = 2 };
    if (!state) return kInvalidValue;
    Lock lock(runtime_mutex());
    auto stream = streams().find(handle);
    if (!stream) return unknown_handle("cudaStreamIsCapturing", "stream");
    *state = !stream->capture ? kNone : stream->capture->invalid ? kInvalidated : kActive;
    return kSuccess;
  });
}

int cudaGraphInstantiate(Handle* executable, Handle handle, unsigned long long flags) {
  return api_call([&]() -> int {
    auto graph = graphs().find(handle);
    if (!executable || flags != 0) return kInvalidValue;
    if (!graph) return unknown_handle("cudaGraphInstantiate", "graph");
    auto created = std::make_shared<GraphExecutable>();
    created->graph = graph;
    *executable = executables().insert(std::move(created));
    return kSuccess;
  });
}

int cudaGraphUpload(Handle executable, Handle stream) {
  return api_call([&]() -> int {
    if (!executables().find(executable)) {
      return unknown_handle("cudaGraphUpload", "executable graph");
    }
    if (stream_device(stream) < 0) return unknown_handle("cudaGraphUpload", "stream");
    return is_capturing(stream) ? kStreamCaptureUnsupported : kSuccess;
  });
}

int cudaGraphLaunch(Handle handle, Handle stream_handle) {
  return api_call([&]() -> int {
    auto executable = executables().find(handle);
    if (!executable) return unknown_handle("cudaGraphLaunch", "executable graph");
    {
      Lock lock(runtime_mutex());
      auto stream = streams().find(stream_handle);
      if (!stream) return unknown_handle("cudaGraphLaunch", "stream");
      if (stream->capture) {
        misuse("cudaGraphLaunch", "graphs within graphs are not emulated");
        return invalidate_capture(*stream);
      }
      if (stream->device != executable->graph->device) return kInvalidValue;
      // A GPU would put the launches one after the other; here the second could wait for a stream
      // that nobody asks for.
      if (executable->queued_launches > 0 && executable->last_stream.lock() != stream) {
        misuse("cudaGraphLaunch", "the graph is still queued in another stream");
        return kInvalidValue;
      }
      executable->last_stream = stream;
    }
    return submit("cudaGraphLaunch", stream_handle, std::make_unique<GraphLaunch>(executable));
  });
}

int cudaGraphDestroy(Handle graph) {
  return api_call([&]() -> int {
    if (!graphs().remove(graph)) return unknown_handle("cudaGraphDestroy", "graph");
    return kSuccess;
  });
}

int cudaGraphExecDestroy(Handle handle) {
  return api_call([&]() -> int {
    auto executable = executables().remove(handle);
    if (!executable) return unknown_handle("cudaGraphExecDestroy", "executable graph");
    if (executable->queued_launches > 0) {
      misuse("cudaGraphExecDestroy", "the graph is destroyed while a launch of it is queued");
    }
    return kSuccess;
  });
}

}  // extern "C"
