// The functions between two products of a feed-forward layer.
#ifndef WEFT_ACTIVATIONS_CUH
#define WEFT_ACTIVATIONS_CUH

__device__ __forceinline__ float silu(float value) { return value / (1.0f + expf(-value)); }

// GELU in its tanh form ("gelu_new").
__device__ __forceinline__ float gelu_tanh(float value) {
  constexpr float kSqrt2OverPi = 0.7978845608f;
  const float inner = kSqrt2OverPi * fmaf(0.044715f * value * value, value, value);
  return 0.5f * value * (1.0f + tanhf(inner));
}

#endif  // WEFT_ACTIVATIONS_CUH
