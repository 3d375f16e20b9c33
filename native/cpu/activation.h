// Activations of the feed-forward layers, for kernels that cannot compute them on the way.
#ifndef WEFT_ACTIVATION_H
#define WEFT_ACTIVATION_H

#include "pool.h"

// out[t, i] = silu(x[t, i]) * x[t, size + i]
void weft_silu_and_mul(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                       int32_t x_stride, int32_t rows, int32_t size);

// out[t, i] = gelu(x[t, i]) in its tanh form; out may be x.
void weft_gelu(weft_pool* pool, float* out, int32_t out_stride, const float* x, int32_t x_stride,
               int32_t rows, int32_t size);

#endif
