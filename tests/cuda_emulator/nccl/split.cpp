#include "split.h"

#include <algorithm>
#include <cstdlib>

#include "../cudart/misuse.h"

namespace cuda_emulator {

namespace {

// NCCL refuses two ranks on one GPU unless it is told to allow it.
bool has_duplicate_device(Communicator& communicator) {
  const char* allowed = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  if (allowed && std::string(allowed) == "1") return false;
  for (int rank = 0; rank < communicator.ranks(); ++rank) {
    if (rank != communicator.rank() &&
        communicator.group().slot(rank).device == communicator.device()) {
      return true;
    }
  }
  return false;
}

int finish_init(const std::weak_ptr<Communicator>& weak) {
  auto communicator = weak.lock();
  if (!communicator) return kNcclSuccess;
  if (!communicator->is_complete()) return kNcclInProgress;
  if (!has_duplicate_device(*communicator)) return kNcclSuccess;
  misuse("ncclCommInitRank", "two ranks use the same device");
  return kNcclInvalidUsage;
}

// The ranks of one color, in their order in the new communicator; empty until all have told theirs.
std::vector<int> members_of(Communicator& parent, std::uint64_t number, int color) {
  std::vector<int> members;
  for (int rank = 0; rank < parent.ranks(); ++rank) {
    const RankSlot& slot = parent.group().slot(rank);
    if (slot.split < number) return {};
    if (slot.colors[number % 2] == color) members.push_back(rank);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return parent.group().slot(a).keys[number % 2] < parent.group().slot(b).keys[number % 2];
  });
  return members;
}

int go_on_splitting(Communicator& parent, std::uint64_t number, int color, Handle* handle,
                    bool blocking) {
  const std::vector<int> members = members_of(parent, number, color);
  if (members.empty()) return kNcclInProgress;
  if (color == kNoColor) {
    *handle = 0;
    return kNcclSuccess;
  }
  RankSlot& first = parent.group().slot(members[0]);
  if (members[0] == parent.rank() && first.named < number) {
    if (!SharedGroup::make(first.names[number % 2])) return kNcclSystemError;
    first.named.store(number);
  }
  if (first.named < number) return kNcclInProgress;
  const auto rank = std::find(members.begin(), members.end(), parent.rank()) - members.begin();
  const int status = join_group(
      "ncclCommSplit", handle,
      {first.names[number % 2], static_cast<int>(rank), static_cast<int>(members.size()),
       parent.device(), blocking});
  return status == kNcclInProgress ? kNcclSuccess : status;
}

}  // namespace

int join_group(const char* function, Handle* handle, const Membership& membership) {
  const auto& [name, rank, ranks, device, blocking] = membership;
  std::string why;
  auto group = SharedGroup::open(name, why);
  if (!group) return refuse_call(function, why, kNcclSystemError);
  std::int32_t known_ranks = 0;
  if (!group->header().ranks.compare_exchange_strong(known_ranks, ranks) && known_ranks != ranks) {
    return refuse_call(function, "ranks disagree about how many they are", kNcclInvalidArgument);
  }
  group->slot(rank).device = device;
  std::uint32_t joined = 0;
  if (!group->slot(rank).joined.compare_exchange_strong(joined, 1)) {
    return refuse_call(function, "the rank has joined before", kNcclInvalidUsage);
  }
  auto communicator =
      std::make_shared<Communicator>(std::move(group), name, rank, ranks, device, blocking);
  communicator->serve();
  *handle = communicators().insert(communicator);
  return communicator->begin(
      function, [weak = std::weak_ptr(communicator)] { return finish_init(weak); });
}

int split_communicator(const std::shared_ptr<Communicator>& parent, int color, int key,
                       Handle* handle, bool blocking) {
  const std::uint64_t number = ++parent->splits;
  RankSlot& own = parent->group().slot(parent->rank());
  own.colors[number % 2] = color;
  own.keys[number % 2] = key;
  own.split.store(number);
  return parent->begin("ncclCommSplit", [=, weak = std::weak_ptr(parent)] {
    auto splitting = weak.lock();
    if (!splitting) return static_cast<int>(kNcclSuccess);
    return go_on_splitting(*splitting, number, color, handle, blocking);
  });
}

}  // namespace cuda_emulator
