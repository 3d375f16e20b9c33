// Values of nccl.h.
#ifndef CUDA_EMULATOR_NCCL_TYPES_H
#define CUDA_EMULATOR_NCCL_TYPES_H

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

enum NcclResult : int {
  kNcclSuccess = 0,
  kNcclUnhandledCudaError = 1,
  kNcclSystemError = 2,
  kNcclInternalError = 3,
  kNcclInvalidArgument = 4,
  kNcclInvalidUsage = 5,
  kNcclRemoteError = 6,
  kNcclInProgress = 7,
};

enum class NcclType : int {
  kInt8 = 0,
  kUint8,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kFloat32,
  kFloat64,
  kBfloat16,
};

enum class NcclReduction : int { kSum = 0, kProduct, kMax, kMin, kAverage };

inline bool is_nccl_type(int type) { return type >= 0 && type <= 9; }

inline std::size_t nccl_size_of(NcclType type) {
  constexpr std::size_t kSizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return kSizes[static_cast<int>(type)];
}

inline constexpr int kUniqueIdBytes = 128;
inline constexpr unsigned kConfigMagic = 0xcafebeef;
inline constexpr int kUndefinedInt = INT32_MIN;
inline constexpr int kNoColor = -1;
inline constexpr int kWindowSymmetric = 1;
inline constexpr std::uintptr_t kWindowAlignment = 4096;

// The part of ncclConfig_t that NCCL 2.18 had.
struct NcclConfig {
  std::size_t size;
  unsigned magic;
  unsigned version;
  int blocking;
  int cga_cluster_size;
  int min_ctas;
  int max_ctas;
  const char* net_name;
  int split_share;
};
static_assert(sizeof(NcclConfig) == 48);

struct NcclUniqueId {
  char bytes[kUniqueIdBytes];
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NCCL_TYPES_H
