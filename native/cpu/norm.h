// RMSNorm of one row.
#ifndef WEFT_NORM_H
#define WEFT_NORM_H

#include <stdint.h>

// out = x / rms(x) * weight over `size` elements, in one order; out may be x.
void weft_rms_norm_row(float* out, const float* x, const float* weight, int64_t size,
                       float epsilon);

#endif
