#include "communicator.h"

#include <chrono>
#include <thread>

#include "../cudart/failures.h"
#include "../cudart/misuse.h"
#include "../emulator.h"

namespace cuda_emulator {

namespace {

// How often GetAsyncError says "in progress" of what could be done at once.
constexpr int kEarlyAnswers = 2;
constexpr std::chrono::seconds kBlockingLimit(30);

}  // namespace

Communicator::Communicator(std::shared_ptr<SharedGroup> group, GroupName name, int rank, int ranks,
                           int device, bool blocking)
    : group_(std::move(group)),
      name_(name),
      rank_(rank),
      ranks_(ranks),
      device_(device),
      blocking_(blocking),
      hangs_in_init_(failure_value(Failure::kNcclInitHang, device) != 0),
      connected_(static_cast<std::size_t>(ranks) + 1, false) {}

Communicator::~Communicator() { SharedGroup::forget(name_); }

void Communicator::serve() {
  if (ranks_ == 1) return;
  // Streams run when their own process asks for it. A rank that waits for this one's part would wait
  // for ever if nobody does, as on a GPU nobody has to.
  std::thread([self = weak_from_this(), group = group_, rank = rank_] {
    std::uint32_t seen = group->slot(rank).demand;
    while (!self.expired()) {
      group->wait_for_demand(rank, seen);
      const std::uint32_t now = group->slot(rank).demand;
      if (now == seen) continue;
      seen = now;
      Ticket ticket;
      if (auto communicator = self.lock()) ticket = communicator->first_unfinished();
      if (ticket.stream) run_towards(ticket);
    }
  }).detach();
}

bool Communicator::is_complete() {
  if (hangs_in_init_) return false;
  for (int rank = 0; rank < ranks_; ++rank) {
    if (!group_->slot(rank).joined) return false;
  }
  return true;
}

int Communicator::begin(const char* function, std::function<int()> job) {
  {
    std::lock_guard lock(mutex_);
    job_ = std::move(job);
    early_answers_ = blocking_ ? 0 : kEarlyAnswers;
  }
  if (!blocking_) return kNcclInProgress;
  const auto deadline = std::chrono::steady_clock::now() + kBlockingLimit;
  while (true) {
    const int result = async_error();
    if (result != kNcclInProgress) return result;
    if (std::chrono::steady_clock::now() > deadline) {
      misuse(function, "waits without a bound for ranks that do not come");
      return kNcclSystemError;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

int Communicator::async_error() {
  std::unique_lock lock(mutex_);
  if (result_ != kNcclSuccess) return result_;
  if (has_lost_ranks()) {
    last_error_ = "another rank has aborted";
    return kNcclRemoteError;
  }
  if (!job_) return kNcclSuccess;
  if (early_answers_ > 0) {
    --early_answers_;
    return kNcclInProgress;
  }
  // The job may ask this communicator for things.
  std::function<int()> job = job_;
  lock.unlock();
  const int result = job();
  if (result == kNcclInProgress) return result;
  lock.lock();
  job_ = nullptr;
  result_ = result;
  return result;
}

bool Communicator::is_busy() {
  std::lock_guard lock(mutex_);
  return job_ != nullptr;
}

void Communicator::fail(int result, const std::string& why) {
  std::lock_guard lock(mutex_);
  result_ = result;
  last_error_ = why;
}

std::string Communicator::last_error() {
  std::lock_guard lock(mutex_);
  return last_error_;
}

std::uint64_t Communicator::queue(const Ticket& ticket) {
  std::lock_guard lock(mutex_);
  unfinished_.push_back(ticket);
  return ++queued_;
}

bool Communicator::is_turn(std::uint64_t number) {
  while (true) {
    Ticket earlier;
    {
      std::lock_guard lock(mutex_);
      if (finished_ + 1 == number) return true;
      // After a fault nothing finishes any more.
      if (sticky_error()) return true;
      earlier = unfinished_.front();
    }
    if (!run_towards(earlier)) return false;
  }
}

bool Communicator::are_operations_done() {
  std::uint64_t next;
  {
    std::lock_guard lock(mutex_);
    next = queued_ + 1;
  }
  return is_turn(next);
}

void Communicator::finish(std::uint64_t number) {
  std::lock_guard lock(mutex_);
  // Work that was dropped after a fault never finishes.
  for (; finished_ < number; ++finished_) unfinished_.pop_front();
}

bool Communicator::needs_connection(int peer) {
  std::lock_guard lock(mutex_);
  const auto index = static_cast<std::size_t>(peer + 1);
  const bool needed = !connected_[index] && ranks_ > 1;
  connected_[index] = true;
  return needed;
}

void Communicator::abort() {
  if (!aborted_.exchange(true)) group_->header().aborted_ranks.fetch_add(1);
}

Ticket Communicator::first_unfinished() {
  std::lock_guard lock(mutex_);
  return unfinished_.empty() ? Ticket{} : unfinished_.front();
}

}  // namespace cuda_emulator
