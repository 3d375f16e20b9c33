// Drawn tokens by slot, from the step that drew them to the step that takes them as input.
#include <stdint.h>

void weft_scatter_tokens(int32_t* slot_tokens, const int32_t* tokens, const int32_t* slots,
                         int32_t rows) {
  for (int32_t i = 0; i < rows; i++) slot_tokens[slots[i]] = tokens[i];
}

// Tokens whose source is negative have their id already.
void weft_gather_tokens(int32_t* ids, const int32_t* slot_tokens, const int32_t* sources,
                        int32_t rows) {
  for (int32_t i = 0; i < rows; i++) {
    if (sources[i] >= 0) ids[i] = slot_tokens[sources[i]];
  }
}
