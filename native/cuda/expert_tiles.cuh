// Rows that are sorted by expert, cut into tiles of rows that share an expert.
#ifndef WEFT_EXPERT_TILES_CUH
#define WEFT_EXPERT_TILES_CUH

namespace weft_expert_tiles {

// Sorted rows [first, end) of one expert; none when there is no such tile.
struct Tile {
  int expert;
  int first;
  int end;
};

// Tile `tile` of all experts' tiles. Whole warps call it.
template <int kRows>
__device__ __forceinline__ Tile find_tile(const int* offsets, int experts, int tile) {
  const int lane = threadIdx.x % 32;
  for (int base = 0; base < experts; base += 32) {
    const int expert = base + lane;
    int first = 0;
    int end = 0;
    if (expert < experts) {
      first = offsets[expert];
      end = offsets[expert + 1];
    }
    const int tiles = (end - first + kRows - 1) / kRows;
    int reached = tiles;  // tiles of this and the earlier experts
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, reached, distance);
      if (lane >= distance) reached += other;
    }
    const unsigned behind = __ballot_sync(0xffffffffu, reached > tile);
    if (behind != 0) {
      const int owner = __ffs(behind) - 1;
      const int skipped = (tile - __shfl_sync(0xffffffffu, reached - tiles, owner)) * kRows;
      first = __shfl_sync(0xffffffffu, first, owner) + skipped;
      end = __shfl_sync(0xffffffffu, end, owner);
      return {base + owner, first, min(end, first + kRows)};
    }
    tile -= __shfl_sync(0xffffffffu, reached, 31);
  }
  return {0, 0, 0};
}

}  // namespace weft_expert_tiles

#endif  // WEFT_EXPERT_TILES_CUH
