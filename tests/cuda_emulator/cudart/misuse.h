// Misuse of the API: what a GPU would let pass, or answer with undefined behaviour, is reported here.
#ifndef CUDA_EMULATOR_CUDART_MISUSE_H
#define CUDA_EMULATOR_CUDART_MISUSE_H

#include <string>

namespace cuda_emulator {

// Prints the finding and keeps it until weft_emulator_take_misuses() takes it.
void misuse(const char* function, const std::string& finding);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_MISUSE_H
