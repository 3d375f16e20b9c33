// The functions of f32 and f64 that are instructions.
#ifndef WEFT_WASM_MATH_H
#define WEFT_WASM_MATH_H

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

static inline float sqrtf(float x) { return __builtin_sqrtf(x); }
static inline float fabsf(float x) { return __builtin_fabsf(x); }
static inline float copysignf(float x, float y) { return __builtin_copysignf(x, y); }
static inline float rintf(float x) { return __builtin_rintf(x); }
static inline float floorf(float x) { return __builtin_floorf(x); }
static inline double fabs(double x) { return __builtin_fabs(x); }
static inline double floor(double x) { return __builtin_floor(x); }

#endif
