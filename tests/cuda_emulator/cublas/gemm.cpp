// Sums are kept in double and rounded once, so a result is as exact as its type allows: what a test
// finds beyond that is the product's own doing.
#include "gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../emulator.h"

namespace cuda_emulator {

namespace {

// Block of C that is kept in registers.
constexpr int kRows = 16;
constexpr int kColumns = 4;

// sums[column][row] += a[i][row] * b[i][column] for all i below k.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void multiply_block(
    const float* a, const float* b, std::int64_t k, double (*sums)[kRows]) {
  for (std::int64_t i = 0; i < k; ++i) {
    for (int column = 0; column < kColumns; ++column) {
      const double factor = b[i * kColumns + column];
      for (int row = 0; row < kRows; ++row) {
        sums[column][row] += factor * static_cast<double>(a[i * kRows + row]);
      }
    }
  }
}

// packed[i][j] = element (first + j, i), or (i, first + j) for columns; zero beyond `count`.
void pack(const Gemm& gemm, const Matrix& matrix, std::int64_t batch, bool rows, std::int64_t first,
          std::int64_t count, int width, std::vector<float>& packed) {
  packed.assign(static_cast<std::size_t>(gemm.k * width), 0.0f);
  for (std::int64_t j = 0; j < count; ++j) {
    for (std::int64_t i = 0; i < gemm.k; ++i) {
      const auto* element =
          rows ? matrix.element(first + j, i, batch) : matrix.element(i, first + j, batch);
      const float value = load_number(matrix.type, element);
      packed[static_cast<std::size_t>(i * width + j)] = gemm.tf32 ? round_to_tf32(value) : value;
    }
  }
}

void store_block(const Gemm& gemm, std::int64_t batch, std::int64_t row, std::int64_t column,
                 const double (*sums)[kRows]) {
  const std::int64_t rows = std::min<std::int64_t>(kRows, gemm.m - row);
  const std::int64_t columns = std::min<std::int64_t>(kColumns, gemm.n - column);
  const auto size = static_cast<std::int64_t>(size_of(gemm.c.type));
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      unsigned char* element = gemm.c.column(column + j, batch) + (row + i) * size;
      double value = gemm.alpha * sums[j][i];
      // C is not read where it does not count: it may be NaN.
      if (gemm.beta != 0) value += double{gemm.beta} * load_number(gemm.c.type, element);
      store_number(gemm.c.type, element, value);
    }
  }
}

void multiply(const Gemm& gemm, std::int64_t batch) {
  std::vector<std::vector<float>> b((gemm.n + kColumns - 1) / kColumns);
  for (std::size_t block = 0; block < b.size(); ++block) {
    const auto first = static_cast<std::int64_t>(block) * kColumns;
    pack(gemm, gemm.b, batch, false, first, std::min<std::int64_t>(kColumns, gemm.n - first),
         kColumns, b[block]);
  }
  std::vector<float> a;
  for (std::int64_t row = 0; row < gemm.m; row += kRows) {
    pack(gemm, gemm.a, batch, true, row, std::min<std::int64_t>(kRows, gemm.m - row), kRows, a);
    for (std::size_t block = 0; block < b.size(); ++block) {
      double sums[kColumns][kRows] = {};
      multiply_block(a.data(), b[block].data(), gemm.k, sums);
      store_block(gemm, batch, row, static_cast<std::int64_t>(block) * kColumns, sums);
    }
  }
}

bool is_device_matrix(const Matrix& matrix, std::int64_t batches, const char* name,
                      std::string& why) {
  const auto size = static_cast<std::int64_t>(size_of(matrix.type));
  const std::int64_t elements = (matrix.columns - 1) * matrix.leading + matrix.rows;
  const std::int64_t bytes = (elements + (batches - 1) * matrix.stride) * size;
  Allocation found;
  if (matrix.rows == 0 || matrix.columns == 0) return true;
  if (reinterpret_cast<std::uintptr_t>(matrix.address) % static_cast<std::uintptr_t>(size) != 0) {
    why = std::string(name) + " is not aligned to its elements";
    return false;
  }
  if (!is_accessible(matrix.address, static_cast<std::size_t>(bytes), why)) {
    why = std::string(name) + " is " + why;
    return false;
  }
  if (find_allocation(matrix.address, found) && found.kind != MemoryKind::kDevice) {
    why = std::string(name) + " is host memory";
    return false;
  }
  return true;
}

bool is_written(const Matrix& matrix, std::int64_t batches) {
  const std::size_t bytes = static_cast<std::size_t>(matrix.rows) * size_of(matrix.type);
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    for (std::int64_t column = 0; column < matrix.columns; ++column) {
      if (first_unwritten(matrix.column(column, batch), bytes) < bytes) return false;
    }
  }
  return true;
}

// cuBLAS may write anywhere in its workspace, so whoever keeps something there has to notice.
void spoil_workspace(const Gemm& gemm) {
  constexpr std::size_t kSpoiled = 4096;
  const std::size_t bytes = std::min(gemm.workspace_bytes, kSpoiled);
  if (bytes == 0) return;
  std::memset(gemm.workspace, 0xff, bytes);
  mark_written(gemm.workspace, bytes, Writer::kDevice);
}

}  // namespace

bool has_valid_operands(const Gemm& gemm, std::string& why) {
  return is_device_matrix(gemm.a, gemm.batches, "A", why) &&
         is_device_matrix(gemm.b, gemm.batches, "B", why) &&
         is_device_matrix(gemm.c, gemm.batches, "C", why);
}

Progress GemmOperation::advance() {
  std::string why;
  // Memory may have been freed since the call.
  if (!has_valid_operands(gemm_, why) ||
      (gemm_.workspace_bytes > 0 && !is_accessible(gemm_.workspace, gemm_.workspace_bytes, why))) {
    report(Fault::kIllegalAddress, "a queued product: " + why);
    return Progress::kDone;
  }
  const bool has_inputs = gemm_.k > 0 && gemm_.alpha != 0;
  if ((has_inputs && !(is_written(gemm_.a, gemm_.batches) && is_written(gemm_.b, gemm_.batches))) ||
      (gemm_.beta != 0 && !is_written(gemm_.c, gemm_.batches))) {
    report(Fault::kLaunchFailure, "a product reads memory that nobody has written");
    return Progress::kDone;
  }
  spoil_workspace(gemm_);
  for (std::int64_t batch = 0; batch < gemm_.batches; ++batch) {
    multiply(gemm_, batch);
    for (std::int64_t column = 0; column < gemm_.n; ++column) {
      mark_written(gemm_.c.column(column, batch),
                   static_cast<std::size_t>(gemm_.m) * size_of(gemm_.c.type), Writer::kDevice);
    }
  }
  return Progress::kDone;
}

}  // namespace cuda_emulator
