// Memory that the ranks of a communicator share, be they threads or processes.
//
// It is an anonymous file (memfd). Its identity is the process that made it and the file's number
// there, by which others open it through /proc: nothing has a name that could be left behind.
#ifndef CUDA_EMULATOR_NCCL_SHARED_GROUP_H
#define CUDA_EMULATOR_NCCL_SHARED_GROUP_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace cuda_emulator {

inline constexpr int kMaxRanks = 16;
// Most bytes of one rank in one operation. The file is sparse: what is not used takes no memory.
inline constexpr std::size_t kMessageBytes = std::size_t{64} << 20;

// What an operation is; all ranks have to mean the same.
struct MessageHeader {
  std::int32_t kind;
  std::int32_t type;
  std::int32_t reduction;
  std::int32_t root;
  std::uint64_t count;

  bool operator==(const MessageHeader&) const = default;
};

// How to find shared memory.
struct GroupName {
  std::int32_t process;
  std::int32_t file;
  std::uint64_t token;
};

// Slots that are written for operation n are read by others until they have written theirs for n + 1,
// which they do after they have read all of n: two slots in turn are enough.
struct RankSlot {
  std::atomic<std::uint32_t> joined;
  std::int32_t device;
  // Grows when another rank waits for this one: it is waited for with a futex.
  std::atomic<std::uint32_t> demand;
  std::atomic<std::uint64_t> posted;  // collectives
  MessageHeader headers[2];
  std::atomic<std::uint64_t> registered;  // windows
  std::uint64_t window_bytes[2];
  std::atomic<std::uint64_t> split;
  std::int32_t colors[2];
  std::int32_t keys[2];
  std::atomic<std::uint64_t> named;  // groups that this rank has made for splits
  GroupName names[2];
};

// Messages from one rank to another: one is under way at a time.
struct PairSlot {
  std::atomic<std::uint64_t> sent;
  std::atomic<std::uint64_t> received;
  MessageHeader header;
};

struct GroupHeader {
  std::uint64_t token;
  std::atomic<std::int32_t> ranks;          // 0 until the first one joins
  std::atomic<std::int32_t> aborted_ranks;  // how many gave up
  RankSlot slots[kMaxRanks];
  PairSlot pairs[kMaxRanks][kMaxRanks];
};

class SharedGroup {
 public:
  // Makes a group and keeps its file open until forget(): others may still want to join.
  static bool make(GroupName& name);
  static void forget(const GroupName& name);
  // Null, with the reason, when it cannot be found.
  static std::shared_ptr<SharedGroup> open(const GroupName& name, std::string& why);

  ~SharedGroup();
  SharedGroup(const SharedGroup&) = delete;
  SharedGroup& operator=(const SharedGroup&) = delete;

  GroupHeader& header() { return *header_; }
  RankSlot& slot(int rank) { return header_->slots[rank]; }
  PairSlot& pair(int source, int destination) { return header_->pairs[source][destination]; }
  unsigned char* collective_data(int rank, std::uint64_t number);
  unsigned char* pair_data(int source, int destination);

  // Asks the rank to run its queued work, as another one cannot go on without it.
  void demand(int rank);
  // Waits until somebody demands, or for a while; `seen` is what the demand was.
  void wait_for_demand(int rank, std::uint32_t seen);

 private:
  explicit SharedGroup(void* memory);

  GroupHeader* header_;
  unsigned char* data_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_SHARED_GROUP_H
