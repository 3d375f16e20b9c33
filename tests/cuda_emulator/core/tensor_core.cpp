// ldmatrix and mma.sync, by the layouts that the PTX manual documents.
//
// A product of two 16-bit factors is exact in f64, and so, nearly, is a sum of 16 of them: the
// result is rounded to f32 once. Tensor cores round (or cut) the partial sums in between, so their
// results may differ in the last bits.
#include <cstring>

#include "access.h"
#include "block.h"

namespace cuda_emulator {

namespace {

constexpr unsigned kMatrices = 4;
constexpr unsigned kMatrixSize = 8;
constexpr std::size_t kRowBytes = 16;

struct MatrixLoad {
  unsigned* registers;
  const void* row;
  bool transposed;
};

void run_load(const Gathering& gathering) {
  std::uint16_t elements[kMatrices][kMatrixSize][kMatrixSize];
  for (unsigned row = 0; row < kWarpSize; row++) {
    const auto& load = *static_cast<const MatrixLoad*>(gathering.operands[row]);
    std::memcpy(elements[row / kMatrixSize][row % kMatrixSize], load.row, kRowBytes);
  }
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    const auto& load = *static_cast<const MatrixLoad*>(gathering.operands[lane]);
    const unsigned major = lane / 4;
    const unsigned minor = lane % 4 * 2;
    for (unsigned i = 0; i < kMatrices; i++) {
      const auto& matrix = elements[i];
      const unsigned low = load.transposed ? matrix[minor][major] : matrix[major][minor];
      const unsigned high = load.transposed ? matrix[minor + 1][major] : matrix[major][minor + 1];
      load.registers[i] = low | high << 16;
    }
  }
}

struct Product {
  FactorType type;
  float* d;
  const unsigned* a;
  const unsigned* b;
};

double factor(FactorType type, unsigned bits) {
  if (type == FactorType::kF16) return widen_f16(static_cast<unsigned short>(bits));
  float value;
  bits <<= 16;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void run_product(const Gathering& gathering) {
  double a[16][16];
  double b[8][16];  // by columns
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    const auto& part = *static_cast<const Product*>(gathering.operands[lane]);
    const unsigned group = lane / 4;
    const unsigned pair = lane % 4 * 2;
    for (unsigned i = 0; i < 2; i++) {
      const unsigned shift = 16 * i;
      a[group][pair + i] = factor(part.type, part.a[0] >> shift & 0xffff);
      a[group + 8][pair + i] = factor(part.type, part.a[1] >> shift & 0xffff);
      a[group][pair + 8 + i] = factor(part.type, part.a[2] >> shift & 0xffff);
      a[group + 8][pair + 8 + i] = factor(part.type, part.a[3] >> shift & 0xffff);
      b[group][pair + i] = factor(part.type, part.b[0] >> shift & 0xffff);
      b[group][pair + 8 + i] = factor(part.type, part.b[1] >> shift & 0xffff);
    }
  }
  for (unsigned lane = 0; lane < kWarpSize; lane++) {
    const auto& part = *static_cast<const Product*>(gathering.operands[lane]);
    for (unsigned i = 0; i < 4; i++) {
      const unsigned row = lane / 4 + i / 2 * 8;
      const unsigned column = lane % 4 * 2 + i % 2;
      double sum = part.d[i];
      for (unsigned k = 0; k < 16; k++) sum += a[row][k] * b[column][k];
      part.d[i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void load_matrices(unsigned* registers, const void* shared, bool transposed) {
  const void* code = __builtin_return_address(0);
  Block& block = Block::running();
  if (!block.shared().contains(reinterpret_cast<std::uintptr_t>(shared))) {
    block.fail(Fault::kIllegalAddress, "ldmatrix from an address outside shared memory", code);
  }
  check_alignment(shared, kRowBytes, code);
  check_access(shared, kRowBytes, Access::kRead, code);
  MatrixLoad load{registers, shared, transposed};
  gather(transposed ? "a transposing ldmatrix" : "ldmatrix", 0xffffffffu, &load, run_load);
}

void multiply_accumulate(FactorType type, float* d, const unsigned* a, const unsigned* b) {
  Product product{type, d, a, b};
  gather("mma", 0xffffffffu, &product, run_product);
}

}  // namespace cuda_emulator
