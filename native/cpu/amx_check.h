// Whether the processor's tiles compute what kernels expect of them.
#ifndef WEFT_AMX_CHECK_H
#define WEFT_AMX_CHECK_H

// Multiplies small integers, whose products and sums are exact in any order, by every kind of product
// that kernels use. To be called with permission. Returns whether the results are right.
int weft_amx_is_right(void);

#endif
