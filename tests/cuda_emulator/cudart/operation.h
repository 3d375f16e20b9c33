// Work of a stream, as cudart, cuBLAS and NCCL put it there.
#ifndef CUDA_EMULATOR_CUDART_OPERATION_H
#define CUDA_EMULATOR_CUDART_OPERATION_H

#include <cstddef>
#include <cstdint>
#include <memory>

#include "handles.h"

namespace cuda_emulator {

struct Stream;

enum class Progress {
  kDone,
  kBlocked,  // waits for another rank: ask again
  kNever,    // will not end: an injected hang, or a rank that is gone
};

// A place in a stream's work.
struct Ticket {
  std::shared_ptr<Stream> stream;
  std::uint64_t position;
};

class Operation {
 public:
  virtual ~Operation() = default;
  // Does the work, or as much of it as can be done without waiting. Called by one thread at a time,
  // in stream order, until it is done.
  virtual Progress advance() = 0;
  // A fresh operation that does the same: graphs run their work many times.
  virtual std::unique_ptr<Operation> clone() const = 0;
  // Told once, when the operation, or the graph that it belongs to, has its place in a stream.
  virtual void queued(const Ticket&) {}
  // Whether it will still use this host memory, which somebody wants to free.
  virtual bool uses_host_memory(std::uintptr_t, std::size_t) const { return false; }
};

// Puts the operation into the stream, or into the graph that the stream captures. Returns a
// cudaError_t.
int submit(const char* function, Handle stream, std::unique_ptr<Operation> operation);

// Whether the stream captures; false for what is no stream.
bool is_capturing(Handle stream);
// A number that changes with every piece of work that the stream gets.
std::uint64_t stream_position(Handle stream);
// The device of a stream; -1 for what is no stream.
int stream_device(Handle stream);
// The device that is current on this thread.
int current_device();

// Runs the stream's work up to the ticket as far as that goes without waiting; true when it got there.
bool run_towards(const Ticket& ticket);
// Runs all work of a device to its end, as functions that free memory do. Returns a cudaError_t.
int drain_device(const char* function, int device);

// Ends all captures that forbid a call like this one on this thread: kStreamCaptureUnsupported, and
// kSuccess when there is none.
int refuse_during_capture(const char* function);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_OPERATION_H
