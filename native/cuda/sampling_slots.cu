// Drawn tokens by slot, from the step that drew them to the step that takes them as input. Rows whose
// slot is negative have none; slots that are not there are passed over, so that nothing else is hit.
#include "ptx.cuh"

extern "C" __global__ void sampling_scatter_tokens(int* slot_tokens, int num_slots,
                                                   const int* tokens, const int* slots, int rows) {
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const int slot = slots[row];
  if (slot >= 0 && slot < num_slots) slot_tokens[slot] = tokens[row];
}

extern "C" __global__ void sampling_gather_tokens(int* ids, const int* slot_tokens, int num_slots,
                                                  const int* sources, int rows) {
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const int source = sources[row];
  if (source >= 0 && source < num_slots) ids[row] = slot_tokens[source];
}
