// Drawn tokens by slot, from the step that drew them to the step that takes them as input. Rows with a
// negative slot have none. Both return the first slot that is out of range, -1 when all were good.
#include <stdint.h>

int32_t weft_scatter_tokens(int32_t* slot_tokens, int32_t num_slots, const int32_t* tokens,
                            const int32_t* slots, int32_t rows) {
  for (int32_t i = 0; i < rows; i++) {
    if (slots[i] >= num_slots) return slots[i];
    if (slots[i] >= 0) slot_tokens[slots[i]] = tokens[i];
  }
  return -1;
}

int32_t weft_gather_tokens(int32_t* ids, const int32_t* slot_tokens, int32_t num_slots,
                           const int32_t* sources, int32_t rows) {
  for (int32_t i = 0; i < rows; i++) {
    if (sources[i] >= num_slots) return sources[i];
    if (sources[i] >= 0) ids[i] = slot_tokens[sources[i]];
  }
  return -1;
}
