// Reductions of elements of all types.
#ifndef CUDA_EMULATOR_NCCL_REDUCE_H
#define CUDA_EMULATOR_NCCL_REDUCE_H

#include <vector>

#include "types.h"

namespace cuda_emulator {

// destination[i] = the reduction of part[i] over the parts, in their order; rounded once.
void reduce(unsigned char* destination, const std::vector<const unsigned char*>& parts,
            std::size_t count, NcclType type, NcclReduction reduction);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_REDUCE_H
