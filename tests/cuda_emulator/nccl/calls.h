// From calls of the API to work of streams: handles, checks, groups.
#ifndef CUDA_EMULATOR_NCCL_CALLS_H
#define CUDA_EMULATOR_NCCL_CALLS_H

#include "../cudart/handles.h"
#include "communication.h"

namespace cuda_emulator {

HandleTable<Communicator>& communicators();

// Checks a call and queues it, at once or at the end of the group that is open.
int make_call(const char* function, Handle communicator, Handle stream, const Call& call);
int start_group();
int end_group();
bool is_group_open();

// Reports misuse and returns `status`.
int refuse_call(const char* function, const std::string& why, int status);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_CALLS_H
