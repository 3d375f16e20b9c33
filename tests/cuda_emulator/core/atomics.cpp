// Atomic operations. Threads take turns, so that plain reads and writes are atomic here.
#include <cstring>

#include "access.h"
#include "block.h"

namespace cuda_emulator {

namespace {

template <class T>
T value_of(unsigned long long bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
unsigned long long bits_of(T value) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

unsigned long long combine(AtomicKind kind, bool wide, unsigned long long old,
                           unsigned long long operand, unsigned long long expected) {
  const auto signed_of = [wide](unsigned long long bits) {
    return wide ? value_of<long long>(bits) : static_cast<long long>(value_of<int>(bits));
  };
  switch (kind) {
    case AtomicKind::kAdd: return old + operand;
    case AtomicKind::kAddFloat: return bits_of(value_of<float>(old) + value_of<float>(operand));
    case AtomicKind::kAddDouble: return bits_of(value_of<double>(old) + value_of<double>(operand));
    case AtomicKind::kMin: return old < operand ? old : operand;
    case AtomicKind::kMax: return old > operand ? old : operand;
    case AtomicKind::kMinSigned: return signed_of(old) < signed_of(operand) ? old : operand;
    case AtomicKind::kMaxSigned: return signed_of(old) > signed_of(operand) ? old : operand;
    case AtomicKind::kAnd: return old & operand;
    case AtomicKind::kOr: return old | operand;
    case AtomicKind::kXor: return old ^ operand;
    case AtomicKind::kExchange: return operand;
    case AtomicKind::kCompareAndSwap: return old == expected ? operand : old;
  }
  return old;
}

}  // namespace

unsigned long long atomic(AtomicKind kind, void* address, unsigned bytes,
                          unsigned long long operand, unsigned long long expected) {
  const void* code = __builtin_return_address(0);
  check_alignment(address, bytes, code);
  check_access(address, bytes, Access::kAtomic, code);
  unsigned long long old = 0;
  std::memcpy(&old, address, bytes);
  const unsigned long long updated = combine(kind, bytes == 8, old, operand, expected);
  std::memcpy(address, &updated, bytes);
  return old;
}

}  // namespace cuda_emulator
