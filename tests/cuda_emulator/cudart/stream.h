// Streams and events: queues in order whose work runs only when somebody asks for it, as late as a
// GPU might.
//
// One mutex guards all of it. It is not held while an operation runs, so streams of several threads
// run side by side.
#ifndef CUDA_EMULATOR_CUDART_STREAM_H
#define CUDA_EMULATOR_CUDART_STREAM_H

#include <chrono>
#include <deque>
#include <mutex>
#include <vector>

#include "operation.h"

namespace cuda_emulator {

struct Capture;

// Queries that are answered "not ready" before one of them lets work run.
inline constexpr int kEarlyQueries = 2;

// What one cudaEventRecord left in a stream.
struct EventPoint {
  std::weak_ptr<Stream> stream;
  std::uint64_t position = 0;
  bool complete = false;
  int early_queries = 0;
  std::chrono::steady_clock::time_point time;
};

struct Event {
  int device;
  bool has_timing;
  std::shared_ptr<EventPoint> point;  // null until it is recorded
  // The capture that recorded it, and the nodes that it stands for there.
  std::weak_ptr<Capture> capture;
  std::vector<std::size_t> captured_nodes;
  bool recorded_in_capture = false;
};

// One of the three is set.
struct QueueItem {
  std::unique_ptr<Operation> operation;
  std::shared_ptr<EventPoint> record;
  std::shared_ptr<EventPoint> wait;
};

struct Stream {
  int device;
  std::deque<QueueItem> items;
  std::uint64_t submitted = 0;
  std::uint64_t completed = 0;
  std::uint64_t settled = 0;  // of the completed items, those whose writes are (settle_writes)
  bool busy = false;  // a thread runs its first item
  int early_queries = 0;
  std::shared_ptr<Capture> capture;
};

using Lock = std::unique_lock<std::mutex>;

std::mutex& runtime_mutex();
HandleTable<Stream>& streams();
HandleTable<Event>& events();

// Under the lock:

Ticket enqueue(const std::shared_ptr<Stream>& stream, QueueItem item);
// Runs items until `position` of them are complete; gives the lock up meanwhile.
Progress run_until(const std::shared_ptr<Stream>& stream, std::uint64_t position, Lock& lock);
// As run_until, but waits. A wait that would not end is misuse and gives kLaunchTimeout.
int synchronize(const char* function, const std::shared_ptr<Stream>& stream, std::uint64_t position,
                Lock& lock);
// Whether work of any stream still uses this host memory.
bool is_host_memory_in_use(std::uintptr_t address, std::size_t bytes);
// Streams with work, those that were destroyed meanwhile included.
std::vector<std::shared_ptr<Stream>> streams_with_work();
// Forgets all work; for tests.
void forget_all_work();

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_STREAM_H
