#include "warp.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "block.h"

namespace cuda_emulator {

namespace {

struct Shuffled {
  ShuffleKind kind;
  unsigned operand;
  unsigned width;
  unsigned long long value;
  unsigned long long result;
};

// The lane that `lane` reads, or itself where the segment of `width` lanes ends.
unsigned source_lane(const Shuffled& call, unsigned lane) {
  const unsigned segment = lane & ~(call.width - 1);
  switch (call.kind) {
    case ShuffleKind::kIndex:
      return segment + (call.operand & (call.width - 1));
    case ShuffleKind::kUp:
      return lane - segment >= call.operand ? lane - call.operand : lane;
    case ShuffleKind::kDown:
      return lane - segment + call.operand < call.width ? lane + call.operand : lane;
    case ShuffleKind::kXor: {
      const unsigned source = lane ^ call.operand;
      return source < segment + call.width ? source : lane;
    }
  }
  return lane;
}

void run_shuffle(const Gathering& gathering) {
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    if ((gathering.mask >> lane & 1) == 0) continue;
    Shuffled& call = *static_cast<Shuffled*>(gathering.operands[lane]);
    const unsigned source = source_lane(call, lane);
    if ((gathering.mask >> source & 1) == 0) {
      Block::running().fail(Fault::kLaunchFailure,
                            "Lane " + std::to_string(lane) + " shuffles from lane " +
                                std::to_string(source) + ", which the mask does not name",
                            nullptr);
    }
    call.result = static_cast<Shuffled*>(gathering.operands[source])->value;
  }
}

struct Vote {
  bool predicate;
  unsigned result;
};

void run_ballot(const Gathering& gathering) {
  unsigned votes = 0;
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    if ((gathering.mask >> lane & 1) == 0) continue;
    if (static_cast<Vote*>(gathering.operands[lane])->predicate) votes |= 1u << lane;
  }
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    if ((gathering.mask >> lane & 1) == 0) continue;
    static_cast<Vote*>(gathering.operands[lane])->result = votes;
  }
}

}  // namespace

void gather(const char* operation, unsigned mask, void* operand, WarpOperation run,
            const char* file, int line) {
  Block& block = Block::running();
  Thread& thread = block.current();
  Warp& warp = block.warp_of(thread);
  const unsigned lane = thread.index % kWarpSize;
  const unsigned lane_bit = 1u << lane;
  if ((mask & lane_bit) == 0) {
    block.fail(Fault::kLaunchFailure, std::string("The mask of ") + operation +
                                          " does not name the lane that calls it");
  }
  auto joined = std::find_if(warp.gatherings.begin(), warp.gatherings.end(),
                             [mask](const Gathering& g) { return g.mask == mask; });
  if (joined == warp.gatherings.end()) {
    warp.gatherings.push_back({operation, mask, 0, {}, file, line});
    joined = std::prev(warp.gatherings.end());
  } else if (std::strcmp(joined->operation, operation) != 0) {
    block.fail(Fault::kLaunchFailure, std::string("A lane calls ") + operation +
                                          " while another lane of its mask is at " +
                                          joined->operation);
  }
  joined->operands[lane] = operand;
  joined->arrived |= lane_bit;
  if (joined->arrived != mask) {
    block.park(operation, file, line);
    return;
  }
  const Gathering complete = *joined;
  warp.gatherings.erase(joined);
  if (run != nullptr) run(complete);
  // An operation of some lanes orders the others too: races between those are missed, but no race
  // is reported that is none.
  warp.synchronized_at = block.tick();
  const unsigned first_thread = thread.index - lane;
  for (unsigned other = 0; other < kWarpSize; other++) {
    if (other != lane && (mask >> other & 1) != 0) block.wake(block.thread(first_thread + other));
  }
}

void synchronize_warp(unsigned mask, const char* file, int line) {
  gather("__syncwarp", mask, nullptr, nullptr, file, line);
}

unsigned long long shuffle(ShuffleKind kind, unsigned mask, unsigned long long value,
                           unsigned operand, unsigned width, const char* file, int line) {
  Shuffled call{kind, operand, width, value, 0};
  gather("a shuffle", mask, &call, run_shuffle, file, line);
  return call.result;
}

unsigned ballot(unsigned mask, bool predicate, const char* file, int line) {
  Vote vote{predicate, 0};
  gather("a vote", mask, &vote, run_ballot, file, line);
  return vote.result;
}

unsigned lanes_alive() {
  Block& block = Block::running();
  const unsigned first_thread = block.current().index / kWarpSize * kWarpSize;
  unsigned alive = 0;
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    if (first_thread + lane < block.thread_count() && !block.thread(first_thread + lane).finished) {
      alive |= 1u << lane;
    }
  }
  return alive;
}

}  // namespace cuda_emulator
