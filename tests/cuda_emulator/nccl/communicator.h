// A communicator: its ranks' shared memory, what it does in the background, and the order of its
// operations.
#ifndef CUDA_EMULATOR_NCCL_COMMUNICATOR_H
#define CUDA_EMULATOR_NCCL_COMMUNICATOR_H

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../cudart/operation.h"
#include "shared_group.h"
#include "types.h"

namespace cuda_emulator {

class Communicator : public std::enable_shared_from_this<Communicator> {
 public:
  Communicator(std::shared_ptr<SharedGroup> group, GroupName name, int rank, int ranks, int device,
               bool blocking);
  ~Communicator();

  // Starts the thread that runs this rank's work when other ranks wait for it.
  void serve();

  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  int device() const { return device_; }
  SharedGroup& group() { return *group_; }

  bool blocking() const { return blocking_; }
  // Whether all ranks have joined; false for good when a failure was asked for.
  bool is_complete();

  // ---- What goes on in the background ----

  // Begins a job, which is asked whether it is done until it is. A blocking communicator waits for it;
  // another answers kNcclInProgress until GetAsyncError has been asked a few times.
  int begin(const char* function, std::function<int()> job);
  // ncclCommGetAsyncError.
  int async_error();
  bool is_busy();
  void fail(int result, const std::string& why);
  std::string last_error();

  // ---- Operations, in the order in which they were queued ----

  // The number of an operation that got its place in a stream.
  std::uint64_t queue(const Ticket& ticket);
  // Whether all earlier ones are done; runs them if that is what it takes.
  bool is_turn(std::uint64_t number);
  void finish(std::uint64_t number);
  // Whether all operations are done; runs them if that is what it takes.
  bool are_operations_done();
  std::uint64_t next_collective() { return ++collectives_; }
  // The first operation of its kind connects the ranks in the background; -1 stands for collectives.
  bool needs_connection(int peer);

  // Operations that recordings hold: NCCL ends a communicator only when there are none.
  std::atomic<int> recorded = 0;

  // Makes every operation of this rank end without effect.
  void abort();
  bool is_aborted() const { return aborted_; }
  // Whether some rank gave up, so that operations cannot end any more.
  bool has_lost_ranks() { return group_->header().aborted_ranks > 0; }

  // Numbers of the last window and the last split of this rank.
  std::uint64_t windows = 0;
  std::uint64_t splits = 0;

 private:
  Ticket first_unfinished();

  std::shared_ptr<SharedGroup> group_;
  GroupName name_;
  int rank_, ranks_, device_;
  bool blocking_;
  bool hangs_in_init_;

  std::mutex mutex_;
  std::function<int()> job_;
  int early_answers_ = 0;
  int result_ = kNcclSuccess;
  std::string last_error_;

  std::uint64_t queued_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t collectives_ = 0;
  std::deque<Ticket> unfinished_;
  std::vector<bool> connected_;

  std::atomic<bool> aborted_ = false;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_COMMUNICATOR_H
