#include "stream.h"

#include <condition_variable>
#include <cstdlib>
#include <set>

#include "../emulator.h"
#include "misuse.h"
#include "status.h"

namespace cuda_emulator {

namespace {

std::condition_variable& progress_made() {
  static std::condition_variable& condition = *new std::condition_variable;
  return condition;
}

// Holds streams until their work is done: a stream may be destroyed before.
std::set<std::shared_ptr<Stream>>& working_streams() {
  static auto& streams = *new std::set<std::shared_ptr<Stream>>;
  return streams;
}

// How long a wait may last that has no bound of its own.
std::chrono::seconds patience() {
  const char* text = std::getenv("WEFT_EMULATED_PATIENCE_SECONDS");
  return std::chrono::seconds(text ? std::atoi(text) : 30);
}

void complete_first(const std::shared_ptr<Stream>& stream) {
  QueueItem item = std::move(stream->items.front());
  stream->items.pop_front();
  ++stream->completed;
  if (item.record) {
    item.record->complete = true;
    item.record->time = std::chrono::steady_clock::now();
  }
  if (stream->items.empty()) working_streams().erase(stream);
}

// The first item's work; the lock is given up while an operation runs.
Progress run_first(const std::shared_ptr<Stream>& stream, Lock& lock) {
  QueueItem& item = stream->items.front();
  // After a fault nothing runs any more, and everything counts as done.
  if (item.record || sticky_error()) return Progress::kDone;
  stream->busy = true;
  Progress progress = Progress::kDone;
  if (item.operation) {
    Operation* operation = item.operation.get();
    lock.unlock();
    progress = operation->advance();
    lock.lock();
  } else if (!item.wait->complete) {
    if (auto other = item.wait->stream.lock()) {
      progress = run_until(other, item.wait->position, lock);
    }
  }
  stream->busy = false;
  progress_made().notify_all();
  return progress;
}

}  // namespace

std::mutex& runtime_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

HandleTable<Stream>& streams() {
  static auto& table = *new HandleTable<Stream>("stream");
  return table;
}

HandleTable<Event>& events() {
  static auto& table = *new HandleTable<Event>("event");
  return table;
}

Ticket enqueue(const std::shared_ptr<Stream>& stream, QueueItem item) {
  Operation* operation = item.operation.get();
  Ticket ticket{stream, ++stream->submitted};
  if (item.record) {
    item.record->stream = stream;
    item.record->position = ticket.position;
  }
  stream->early_queries = 0;
  stream->items.push_back(std::move(item));
  working_streams().insert(stream);
  if (operation) operation->queued(ticket);
  return ticket;
}

Progress run_until(const std::shared_ptr<Stream>& stream, std::uint64_t position, Lock& lock) {
  while (stream->completed < position) {
    if (stream->busy) return Progress::kBlocked;
    Progress progress = run_first(stream, lock);
    if (progress != Progress::kDone) return progress;
    complete_first(stream);
  }
  return Progress::kDone;
}

int synchronize(const char* function, const std::shared_ptr<Stream>& stream, std::uint64_t position,
                Lock& lock) {
  const auto deadline = std::chrono::steady_clock::now() + patience();
  auto pause = std::chrono::microseconds(20);
  while (true) {
    Progress progress = run_until(stream, position, lock);
    if (progress == Progress::kDone) return sticky_error();
    if (progress == Progress::kNever || std::chrono::steady_clock::now() > deadline) {
      misuse(function, "waits without a bound for work that never ends");
      return kLaunchTimeout;
    }
    progress_made().wait_for(lock, pause);
    if (pause < std::chrono::milliseconds(1)) pause *= 2;
  }
}

bool is_host_memory_in_use(std::uintptr_t address, std::size_t bytes) {
  for (const auto& stream : working_streams()) {
    for (const QueueItem& item : stream->items) {
      if (item.operation && item.operation->uses_host_memory(address, bytes)) return true;
    }
  }
  return false;
}

std::vector<std::shared_ptr<Stream>> streams_with_work() {
  return {working_streams().begin(), working_streams().end()};
}

void forget_all_work() {
  for (const auto& stream : streams_with_work()) {
    // An item that another thread is running cannot be taken from under it.
    while (!stream->items.empty() && !stream->busy) complete_first(stream);
  }
}

int stream_device(Handle handle) {
  auto stream = streams().find(handle);
  return stream ? stream->device : -1;
}

bool run_towards(const Ticket& ticket) {
  Lock lock(runtime_mutex());
  return run_until(ticket.stream, ticket.position, lock) == Progress::kDone;
}

int drain_device(const char* function, int device) {
  Lock lock(runtime_mutex());
  for (const auto& stream : streams_with_work()) {
    if (stream->device != device) continue;
    if (int status = synchronize(function, stream, stream->submitted, lock)) return status;
  }
  return kSuccess;
}

}  // namespace cuda_emulator
