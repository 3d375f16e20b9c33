// Tiles of 16-bit rows in shared memory, and reductions over a warp's products of them.
#ifndef WEFT_ATTENTION_TILE_CUH
#define WEFT_ATTENTION_TILE_CUH

namespace weft_attention {

// Where 16-byte chunk `chunk` of row `row` stands, in elements. Chunks are exchanged inside a row
// so that eight rows' chunks of one column lie on different banks.
template <int D>
__device__ __forceinline__ int tile_offset(int row, int chunk) {
  return row * D + (chunk ^ (row % 8)) * 8;
}

// Where ldmatrix_x4 finds the lane's row of the fragment of rows `row`.. and elements 16 `k`..: its
// matrices are then (rows 0-7, elements 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15). `row` is a
// multiple of 16. The offset is an exclusive or with 16 `k`, which costs less to compute anew than
// the registers to keep it.
template <int D>
__device__ __forceinline__ int fragment_offset(int row, int k) {
  const int lane = threadIdx.x % 32;
  return tile_offset<D>(row + lane % 16, lane / 16) ^ (16 * k);
}

// Over the four lanes that hold a row of an accumulator.
__device__ __forceinline__ float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

}  // namespace weft_attention

#endif  // WEFT_ATTENTION_TILE_CUH
