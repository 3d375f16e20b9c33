// What a kernel sees of CUDA C++ without including anything. The emulated NVRTC includes it before
// every program. What is not here (declarations with __shared__, inline PTX) is not allowed in
// weft's kernels, and fails to compile.
#ifndef CUDA_EMULATOR_CUDA_DEVICE_H
#define CUDA_EMULATOR_CUDA_DEVICE_H

#include "device_calls.h"
#include "kernel_entry.h"

#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __CUDACC_RTC__ 1
// __global__ and __launch_bounds__ stay as they are: the emulated NVRTC looks for them.

using size_t = decltype(sizeof 0);

#include "cuda_types.h"

#define threadIdx (::cuda_emulator::thread_index())
#define blockIdx (::cuda_emulator::block_index())
#define blockDim (::cuda_emulator::block_dimensions())
#define gridDim (::cuda_emulator::grid_dimensions())
constexpr int warpSize = 32;

#include "cuda_math.h"
#include "cuda_threads.h"

#endif  // CUDA_EMULATOR_CUDA_DEVICE_H
