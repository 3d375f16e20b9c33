// Weights of 4 and 8 bits on their way into memory (quantized.cuh), out of it again for products of very
// many rows, and x in the order of their inputs.
#include "ptx.cuh"
#include "quantized.cuh"
#include "reduce.cuh"
#include "rows.cuh"

namespace weft_quantize {

using namespace weft_quantized;

__device__ __forceinline__ int index_in_row() { return blockIdx.y * blockDim.x + threadIdx.x; }

// Codes of an AWQ checkpoint: a word holds eight outputs of one input, the even ones first.
struct AwqCodes {
  const unsigned* words;
  int stride;
  int first_output;  // of the first row, in the first word

  __device__ __forceinline__ unsigned at(int row, int input, int) const {
    const int output = first_output + row;
    const int place = (output % 8 >> 1) + (output % 2 << 2);
    return row_of(words, input, stride)[output / 8] >> (4 * place) & 15u;
  }
};

// Codes of a GPTQ checkpoint: a word holds the inputs of one output.
template <class F>
struct GptqCodes {
  const unsigned* words;
  int stride;
  int first_input;  // in the first word

  __device__ __forceinline__ unsigned at(int row, int input, int) const {
    const int position = first_input + input;
    const unsigned word = row_of(words, position / kWordInputs<F>, stride)[row];
    return word >> (position % kWordInputs<F> * kBits<F>) & ((1u << kBits<F>) - 1);
  }
};

// Signed bytes.
struct SignedCodes {
  const signed char* values;
  int stride;

  __device__ __forceinline__ unsigned at(int row, int input, int) const {
    return static_cast<unsigned>(row_of(values, row, stride)[input] + 128);
  }
};

// Puts codes into the order of the kernels. `order`: which input stands at a position, -1 for none;
// null: inputs are in order. Positions without an input get code 0, and x is zero there.
template <class F, class Codes>
__device__ __forceinline__ void pack(unsigned* out, const Codes& codes, const int* order,
                                     int columns, int inputs) {
  pdl_launch_dependents();
  pdl_wait();
  const int first = index_in_row() * kLaneInputs;
  if (first >= inputs) return;
  unsigned words[kChunkWords<F>] = {};
#pragma unroll
  for (int i = 0; i < kLaneInputs; i++) {
    const int position = first + i;
    const int input = order != nullptr ? order[position] : position < columns ? position : -1;
    const int pair = i % kWordInputs<F> / 2;
    if (input >= 0) {
      const unsigned code = codes.at(blockIdx.x, input, position);
      words[i / kWordInputs<F>] |= code << (pair * kBits<F> + i % 2 * 16);
    }
  }
  unsigned* place = row_of(out, blockIdx.x, inputs / kWordInputs<F>) + first_word<F>(first);
#pragma unroll
  for (int i = 0; i < kChunkWords<F>; i++) place[i] = words[i];
}

// Zeros of a checkpoint, stored as codes are; null: half the range.
struct StoredZeros {
  const unsigned* words;
  int stride;
  int first_output;
  int bits;
  int offset;
  bool awq;

  // Less half the range.
  __device__ __forceinline__ int at(int group, int row) const {
    if (words == nullptr) return 0;
    const int per_word = 32 / bits;
    const int output = first_output + row;
    const int place = awq ? (output % 8 >> 1) + (output % 2 << 2) : output % per_word;
    const unsigned word = row_of(words, group, stride)[output / per_word];
    const int zero = static_cast<int>(word >> (place * bits) & ((1u << bits) - 1));
    return zero + offset - (1 << (bits - 1));
  }
};

// A segment's word for a range of numbers, and what codes are made with.
template <class F>
struct Quantizer {
  Segment segment;

  // int8: symmetric, so that the largest magnitude is 127. int4: the least and the largest number become
  // 0 and 15, or one of them is 0.
  static __device__ __forceinline__ unsigned word_of(float least, float largest,
                                                     unsigned zero_mask) {
    if constexpr (kBits<F> == 8) {
      return pack_segment({fmaxf(-least, largest) / 127.0f, 0}, zero_mask);
    } else {
      const Segment rounded =
          unpack_segment(pack_segment({(largest - least) / 15.0f, 0}, zero_mask), zero_mask);
      const int zero = rounded.scale > 0.0f ? __float2int_rn(-least / rounded.scale) : 0;
      return pack_segment({rounded.scale, min(zero, 15) - kHalfRange<F>}, zero_mask);
    }
  }

  __device__ __forceinline__ unsigned code(float value) const {
    if (!(segment.scale > 0.0f)) return static_cast<unsigned>(kHalfRange<F> + segment.zero);
    const int code = __float2int_rn(value / segment.scale) + kHalfRange<F> + segment.zero;
    constexpr int kLargest = (1 << kBits<F>) - 1;
    return static_cast<unsigned>(min(max(code, 0), kLargest));
  }
};

// Codes made of numbers.
template <class F>
struct QuantizedCodes {
  const float* values;
  int stride;
  const unsigned* segments;
  int row_segments;
  int segment_inputs;
  unsigned zero_mask;

  __device__ __forceinline__ unsigned at(int row, int input, int position) const {
    const unsigned word = row_of(segments, row, row_segments)[position / segment_inputs];
    return Quantizer<F>{unpack_segment(word, zero_mask)}.code(row_of(values, row, stride)[input]);
  }
};

// The words of segments of a row, a warp each, from the least and the largest of their numbers and 0.
template <class F>
__device__ __forceinline__ void make_segments(unsigned* out, const float* values, int stride,
                                              const int* order, int columns, int row_segments,
                                              int segment_inputs, unsigned zero_mask) {
  pdl_launch_dependents();
  pdl_wait();
  const int segment = index_in_row() / 32;
  if (segment >= row_segments) return;  // whole warps
  float least = 0.0f;
  float largest = 0.0f;
  for (int i = threadIdx.x % 32; i < segment_inputs; i += 32) {
    const int position = segment * segment_inputs + i;
    const int input = order != nullptr ? order[position] : position < columns ? position : -1;
    if (input < 0) continue;
    const float value = row_of(values, blockIdx.x, stride)[input];
    least = fminf(least, value);
    largest = fmaxf(largest, value);
  }
  least = -warp_max(-least);
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) {
    row_of(out, blockIdx.x, row_segments)[segment] =
        Quantizer<F>::word_of(least, largest, zero_mask);
  }
}

// 8 numbers of a row of a weight, rounded to T.
template <class T, class F>
__device__ __forceinline__ void unpack(T* out, const unsigned* values, const unsigned* segments,
                                       int segment_shift, unsigned zero_mask, int inputs) {
  pdl_launch_dependents();
  pdl_wait();
  const int first = index_in_row() * kLaneInputs;
  if (first >= inputs) return;
  const int row_segments = inputs / kChunkInputs >> segment_shift;
  const unsigned* words = row_of(values, blockIdx.x, inputs / kWordInputs<F>) + first_word<F>(first);
  const unsigned word =
      row_of(segments, blockIdx.x, row_segments)[first / kChunkInputs >> segment_shift];
  const Segment segment = unpack_segment(word, zero_mask);
  float numbers[kLaneInputs];
  chunk_values<F>(words, MinusZero<float, F>::of(segment.zero), numbers);
  T* place = row_of(out, blockIdx.x, inputs) + first;
#pragma unroll
  for (int part = 0; part < kLaneInputs; part += kVectorSize<T>) {
    float scaled[kVectorSize<T>];
#pragma unroll
    for (int i = 0; i < kVectorSize<T>; i++) scaled[i] = numbers[part + i] * segment.scale;
    store16(place + part, scaled);
  }
}

template <class T>
__device__ __forceinline__ void gather(T* out, const T* x, int x_stride, const int* order,
                                       int inputs) {
  pdl_launch_dependents();
  pdl_wait();
  const int position = index_in_row();
  if (position >= inputs) return;
  const int input = order[position];
  row_of(out, blockIdx.x, inputs)[position] =
      input >= 0 ? row_of(x, blockIdx.x, x_stride)[input] : T{};
}

}  // namespace weft_quantize

// pack_*: the rows of a part of a weight, whose codes have a stride in words (bytes for `signed`).
// `first`: how many outputs (AWQ) or inputs (GPTQ) of the first word are skipped. A thread has 8 inputs.
extern "C" __global__ void pack_awq_int4(unsigned* out, const unsigned* words, int stride,
                                         int first, const int* order, int columns, int inputs) {
  weft_quantize::pack<weft_quantized::Int4>(
      out, weft_quantize::AwqCodes{words, stride, first}, order, columns, inputs);
}

#define WEFT_PACK_GPTQ_KERNEL(suffix, F)                                                          \
  extern "C" __global__ void pack_gptq_##suffix(unsigned* out, const unsigned* words, int stride, \
                                                int first, const int* order, int columns,         \
                                                int inputs) {                                     \
    weft_quantize::pack<F>(out, weft_quantize::GptqCodes<F>{words, stride, first}, order,         \
                           columns, inputs);                                                      \
  }

WEFT_PACK_GPTQ_KERNEL(int4, weft_quantized::Int4)
WEFT_PACK_GPTQ_KERNEL(int8, weft_quantized::Int8)

#undef WEFT_PACK_GPTQ_KERNEL

extern "C" __global__ void pack_signed_int8(unsigned* out, const signed char* values, int stride,
                                            int, const int* order, int columns, int inputs) {
  weft_quantize::pack<weft_quantized::Int8>(out, weft_quantize::SignedCodes{values, stride},
                                            order, columns, inputs);
}

// The words of a part's segments: `group_of_segment` says which row of the scales and zeros each has.
// Grid: [rows, segments of a row], a thread each.
extern "C" __global__ void pack_segments(unsigned* out, const float* scales, int scale_stride,
                                         const unsigned* zeros, int zero_stride, int first_output,
                                         int bits, int zero_offset, int awq,
                                         const int* group_of_segment, int row_segments,
                                         unsigned zero_mask) {
  using namespace weft_quantize;
  pdl_launch_dependents();
  pdl_wait();
  const int segment = index_in_row();
  if (segment >= row_segments) return;
  const int row = blockIdx.x;
  const int group = group_of_segment[segment];
  const StoredZeros stored = {zeros, zero_stride, first_output, bits, zero_offset, awq != 0};
  const Segment packed = {row_of(scales, group, scale_stride)[row], stored.at(group, row)};
  row_of(out, row, row_segments)[segment] = pack_segment(packed, zero_mask);
}

// make_segments: the words of segments of `segment_inputs` for rows of numbers, a warp each.
// quantize: codes of rows of numbers, whose segments' words have been made; 8 inputs a thread.
#define WEFT_QUANTIZE_KERNELS(suffix, F)                                                          \
  extern "C" __global__ void make_segments_##suffix(                                              \
      unsigned* out, const float* values, int stride, const int* order, int columns,              \
      int row_segments, int segment_inputs, unsigned zero_mask) {                                 \
    weft_quantize::make_segments<F>(out, values, stride, order, columns, row_segments,            \
                                    segment_inputs, zero_mask);                                   \
  }                                                                                               \
  extern "C" __global__ void quantize_##suffix(                                                   \
      unsigned* out, const float* values, int stride, const unsigned* segments, int row_segments, \
      int segment_inputs, unsigned zero_mask, const int* order, int columns, int inputs) {        \
    weft_quantize::pack<F>(                                                                       \
        out,                                                                                      \
        weft_quantize::QuantizedCodes<F>{values, stride, segments, row_segments, segment_inputs,  \
                                         zero_mask},                                              \
        order, columns, inputs);                                                                  \
  }

WEFT_QUANTIZE_KERNELS(int4, weft_quantized::Int4)
WEFT_QUANTIZE_KERNELS(int8, weft_quantized::Int8)

#undef WEFT_QUANTIZE_KERNELS

// unpack: rows of a weight as [rows][inputs] of a type, 8 a thread.
#define WEFT_UNPACK_KERNEL(suffix, T, F)                                                       \
  extern "C" __global__ void unpack_##suffix(T* out, const unsigned* values,                   \
                                             const unsigned* segments, int segment_shift,      \
                                             unsigned zero_mask, int inputs) {                 \
    weft_quantize::unpack<T, F>(out, values, segments, segment_shift, zero_mask, inputs);      \
  }
// gather_inputs: rows of x in the order of a weight's inputs, zeros where there is none.
#define WEFT_INPUT_KERNELS(suffix, T)                                                          \
  WEFT_UNPACK_KERNEL(int4_##suffix, T, weft_quantized::Int4)                                   \
  WEFT_UNPACK_KERNEL(int8_##suffix, T, weft_quantized::Int8)                                   \
  extern "C" __global__ void gather_inputs_##suffix(T* out, const T* x, int x_stride,          \
                                                    const int* order, int inputs) {            \
    weft_quantize::gather(out, x, x_stride, order, inputs);                                    \
  }

WEFT_INPUT_KERNELS(f32, float)
WEFT_INPUT_KERNELS(bf16, bf16)
WEFT_INPUT_KERNELS(f16, f16)

#undef WEFT_INPUT_KERNELS
#undef WEFT_UNPACK_KERNEL
