// Softmax of one row.
#ifndef WEFT_SOFTMAX_H
#define WEFT_SOFTMAX_H

#include <stdint.h>

// out = exp(x - max x) / sum of exp(x - max x) over `size` elements, in one order; out may be x.
void weft_softmax_row(float* out, const float* x, int64_t size);

#endif
