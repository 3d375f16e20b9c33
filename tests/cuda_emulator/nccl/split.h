// How ranks come together in a communicator: by a name, or as parts of another one.
#ifndef CUDA_EMULATOR_NCCL_SPLIT_H
#define CUDA_EMULATOR_NCCL_SPLIT_H

#include "calls.h"

namespace cuda_emulator {

struct Membership {
  GroupName name;
  int rank;
  int ranks;
  int device;
  bool blocking;
};

// Makes this rank's communicator, whose handle is there at once, and waits for the others in the
// background.
int join_group(const char* function, Handle* handle, const Membership& membership);

// Makes communicators of the ranks with the same color, in the order of keys and ranks. The handle is
// there when the parent's job is done; 0 for kNoColor.
int split_communicator(const std::shared_ptr<Communicator>& parent, int color, int key,
                       Handle* handle, bool blocking);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_SPLIT_H
