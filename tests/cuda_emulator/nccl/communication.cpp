#include "communication.h"

#include <algorithm>
#include <cstring>

#include "../cudart/failures.h"
#include "../emulator.h"
#include "reduce.h"

namespace cuda_emulator {

namespace {

MessageHeader header_of(const Call& call) {
  const bool reduces = call.kind == Kind::kAllReduce || call.kind == Kind::kReduceScatter;
  return {static_cast<int>(call.kind), static_cast<int>(call.type),
          reduces ? static_cast<int>(call.reduction) : 0,
          call.kind == Kind::kBroadcast ? call.peer : 0, call.count};
}

bool is_message(const Call& call) {
  return call.kind == Kind::kSend || call.kind == Kind::kReceive;
}

// Checked again when the operation runs: memory may have been freed since the call.
bool is_memory_ready(const Call& call, const Communicator& communicator, std::string& why) {
  const std::size_t source = source_bytes(call, communicator);
  const std::size_t destination = destination_bytes(call, communicator);
  if (source > 0 && !is_accessible(call.source, source, why)) return false;
  if (destination > 0 && !is_accessible(call.destination, destination, why)) return false;
  if (source > 0 && first_unwritten(call.source, source) < source) {
    why = "memory that nobody has written";
    return false;
  }
  return true;
}

}  // namespace

std::size_t source_bytes(const Call& call, const Communicator& communicator) {
  const std::size_t part = call.count * nccl_size_of(call.type);
  switch (call.kind) {
    case Kind::kReceive: return 0;
    case Kind::kBroadcast: return call.peer == communicator.rank() ? part : 0;
    case Kind::kReduceScatter: return part * static_cast<std::size_t>(communicator.ranks());
    default: return part;
  }
}

std::size_t destination_bytes(const Call& call, const Communicator& communicator) {
  const std::size_t part = call.count * nccl_size_of(call.type);
  switch (call.kind) {
    case Kind::kSend: return 0;
    case Kind::kAllGather: return part * static_cast<std::size_t>(communicator.ranks());
    default: return part;
  }
}

Communication::Communication(std::shared_ptr<Communicator> communicator, std::vector<Call> calls)
    : communicator_(std::move(communicator)),
      calls_(std::move(calls)),
      posted_(calls_.size()),
      done_(calls_.size()) {
  ++communicator_->recorded;
}

// One that is dropped after a fault must not hold up what comes after it.
Communication::~Communication() {
  if (number_ != 0) communicator_->finish(number_);
  else --communicator_->recorded;
}

std::unique_ptr<Operation> Communication::clone() const {
  return std::make_unique<Communication>(communicator_, calls_);
}

void Communication::queued(const Ticket& ticket) {
  number_ = communicator_->queue(ticket);
  --communicator_->recorded;
}

Progress Communication::advance() {
  if (communicator_->is_aborted()) return Progress::kDone;
  if (!communicator_->is_turn(number_)) {
    return communicator_->has_lost_ranks() ? Progress::kNever : Progress::kBlocked;
  }
  if (!started_ && !start()) return Progress::kDone;
  if (hangs_) return Progress::kNever;
  if (exchange() || sticky_error()) {
    communicator_->finish(number_);
    return Progress::kDone;
  }
  return communicator_->has_lost_ranks() ? Progress::kNever : Progress::kBlocked;
}

bool Communication::start() {
  started_ = true;
  std::string why;
  for (const Call& call : calls_) {
    if (is_memory_ready(call, *communicator_, why)) continue;
    report(Fault::kIllegalAddress, "an NCCL operation touches " + why);
    return false;
  }
  const int device = communicator_->device();
  hangs_ = is_due(Failure::kNcclHang, device);
  if (is_due(Failure::kNcclRemoteError, device)) {
    communicator_->fail(kNcclRemoteError, "injected failure of another rank");
    hangs_ = true;
  }
  if (!hangs_ && !is_message(calls_[0])) post_collective();
  return true;
}

void Communication::post_collective() {
  const Call& call = calls_[0];
  collective_ = communicator_->next_collective();
  SharedGroup& group = communicator_->group();
  RankSlot& own = group.slot(communicator_->rank());
  if (const std::size_t bytes = source_bytes(call, *communicator_)) {
    std::memcpy(group.collective_data(communicator_->rank(), collective_), call.source, bytes);
  }
  own.headers[collective_ % 2] = header_of(call);
  own.posted.store(collective_);
}

bool Communication::exchange() {
  if (!is_message(calls_[0])) return exchange_collective();
  bool all = true;
  for (std::size_t index = 0; index < calls_.size(); ++index) {
    if (!done_[index]) done_[index] = exchange_message(index);
    all &= done_[index];
  }
  return all;
}

bool Communication::exchange_collective() {
  const Call& call = calls_[0];
  SharedGroup& group = communicator_->group();
  const int ranks = communicator_->ranks();
  bool all = true;
  for (int rank = 0; rank < ranks; ++rank) {
    if (group.slot(rank).posted >= collective_) continue;
    group.demand(rank);
    all = false;
  }
  if (!all) return false;
  std::vector<const unsigned char*> parts;
  for (int rank = 0; rank < ranks; ++rank) {
    if (group.slot(rank).headers[collective_ % 2] != header_of(call)) {
      report(Fault::kLaunchFailure, "rank " + std::to_string(rank) + " and rank " +
                                        std::to_string(communicator_->rank()) +
                                        " disagree about an NCCL operation");
      return true;
    }
    parts.push_back(group.collective_data(rank, collective_));
  }
  const std::size_t part = call.count * nccl_size_of(call.type);
  switch (call.kind) {
    case Kind::kAllGather:
      for (std::size_t rank = 0; rank < parts.size(); ++rank) {
        std::memcpy(call.destination + rank * part, parts[rank], part);
      }
      break;
    case Kind::kBroadcast:
      std::memcpy(call.destination, parts[static_cast<std::size_t>(call.peer)], part);
      break;
    default:
      if (call.kind == Kind::kReduceScatter) {
        for (auto& each : parts) each += part * static_cast<std::size_t>(communicator_->rank());
      }
      reduce(call.destination, parts, call.count, call.type, call.reduction);
  }
  mark_written(call.destination, destination_bytes(call, *communicator_), Writer::kDevice);
  return true;
}

bool Communication::exchange_message(std::size_t index) {
  const Call& call = calls_[index];
  SharedGroup& group = communicator_->group();
  const int own = communicator_->rank();
  const std::size_t bytes = call.count * nccl_size_of(call.type);
  const MessageHeader header = {0, static_cast<int>(call.type), 0, 0, call.count};
  if (call.kind == Kind::kSend) {
    PairSlot& pair = group.pair(own, call.peer);
    // A send ends when its message has been received: whoever counts on a buffer deadlocks.
    if (posted_[index]) return pair.received == pair.sent || waits_for(call.peer);
    if (pair.received != pair.sent) return waits_for(call.peer);
    std::memcpy(group.pair_data(own, call.peer), call.source, bytes);
    pair.header = header;
    pair.sent.fetch_add(1);
    posted_[index] = true;
    return waits_for(call.peer);
  }
  PairSlot& pair = group.pair(call.peer, own);
  if (pair.sent == pair.received) return waits_for(call.peer);
  if (pair.header != header) {
    report(Fault::kLaunchFailure, "rank " + std::to_string(call.peer) + " sends rank " +
                                      std::to_string(own) + " what it does not expect");
    return true;
  }
  std::memcpy(call.destination, group.pair_data(call.peer, own), bytes);
  mark_written(call.destination, bytes, Writer::kDevice);
  pair.received.fetch_add(1);
  return true;
}

bool Communication::waits_for(int peer) {
  if (peer != communicator_->rank()) communicator_->group().demand(peer);
  return false;
}

}  // namespace cuda_emulator
