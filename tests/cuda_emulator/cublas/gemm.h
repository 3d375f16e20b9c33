// Products of column-major matrices in device memory, as work of a stream.
#ifndef CUDA_EMULATOR_CUBLAS_GEMM_H
#define CUDA_EMULATOR_CUBLAS_GEMM_H

#include <cstdint>
#include <string>

#include "../cudart/operation.h"
#include "numbers.h"

namespace cuda_emulator {

struct Matrix {
  unsigned char* address;
  DataType type;
  bool transposed;
  std::int64_t rows;     // as it lies in memory
  std::int64_t columns;
  std::int64_t leading;  // elements from one column to the next
  std::int64_t stride;   // elements from one matrix of the batch to the next

  unsigned char* column(std::int64_t index, std::int64_t batch) const {
    return address + (index * leading + batch * stride) * static_cast<std::int64_t>(size_of(type));
  }
  // Element (row, column) of the matrix that it stands for, transposed or not.
  const unsigned char* element(std::int64_t row, std::int64_t column_index,
                               std::int64_t batch) const {
    if (transposed) std::swap(row, column_index);
    return column(column_index, batch) + row * static_cast<std::int64_t>(size_of(type));
  }
};

struct Gemm {
  std::int64_t m, n, k;
  std::int64_t batches;
  float alpha, beta;
  Matrix a, b, c;
  bool tf32;
  unsigned char* workspace;
  std::size_t workspace_bytes;
};

// Whether all elements lie in device memory; if not, `why` says what is wrong with which operand.
bool has_valid_operands(const Gemm& gemm, std::string& why);

class GemmOperation : public Operation {
 public:
  explicit GemmOperation(const Gemm& gemm) : gemm_(gemm) {}
  Progress advance() override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<GemmOperation>(gemm_);
  }

 private:
  Gemm gemm_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUBLAS_GEMM_H
