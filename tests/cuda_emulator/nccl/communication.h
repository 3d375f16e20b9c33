// Operations between ranks, as work of a stream.
#ifndef CUDA_EMULATOR_NCCL_COMMUNICATION_H
#define CUDA_EMULATOR_NCCL_COMMUNICATION_H

#include "communicator.h"

namespace cuda_emulator {

enum class Kind : int { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kSend, kReceive };

// One call. `count` is as in the call: of one rank's part where parts differ from the whole.
struct Call {
  Kind kind;
  const unsigned char* source;
  unsigned char* destination;
  std::size_t count;
  NcclType type;
  NcclReduction reduction;
  int peer;  // root of a broadcast, other rank of a send or receive
};

std::size_t source_bytes(const Call& call, const Communicator& communicator);
std::size_t destination_bytes(const Call& call, const Communicator& communicator);

// One collective, or the sends and receives of a group, which go on together.
class Communication : public Operation {
 public:
  Communication(std::shared_ptr<Communicator> communicator, std::vector<Call> calls);
  ~Communication() override;

  Progress advance() override;
  std::unique_ptr<Operation> clone() const override;
  void queued(const Ticket& ticket) override;

 private:
  bool start();  // false after a fault
  void post_collective();
  // True when the operation, its collective or the message with this index is done.
  bool exchange();
  bool exchange_collective();
  bool exchange_message(std::size_t index);
  // Asks the other rank to go on, as this one has to wait: false.
  bool waits_for(int peer);

  std::shared_ptr<Communicator> communicator_;
  std::vector<Call> calls_;
  std::uint64_t number_ = 0;      // in the order of the communicator
  std::uint64_t collective_ = 0;  // in the order of its collectives
  std::vector<bool> posted_;      // which sends have given their data away
  std::vector<bool> done_;
  bool started_ = false;
  bool hangs_ = false;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_COMMUNICATION_H
