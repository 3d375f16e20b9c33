// Types of elements of matrices.
#ifndef CUDA_EMULATOR_CUBLAS_NUMBERS_H
#define CUDA_EMULATOR_CUBLAS_NUMBERS_H

#include <cstddef>

namespace cuda_emulator {

// Values of cudaDataType.
enum class DataType : int { kF32 = 0, kF16 = 2, kBf16 = 14 };

std::size_t size_of(DataType type);
float load_number(DataType type, const void* address);
// Rounds once, to nearest even.
void store_number(DataType type, void* address, double value);
// To the 10 bits of mantissa that tensor cores take of an f32.
float round_to_tf32(float value);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUBLAS_NUMBERS_H
