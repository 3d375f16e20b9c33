#include "access.h"

#include <cstdio>
#include <cstring>
#include <string>

#include "block.h"
#include "kernel_image.h"
#include "memory.h"

namespace cuda_emulator {

namespace {

std::string in_hexadecimal(std::uintptr_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", address);
  return text;
}

[[noreturn]] void fail_access(Fault fault, std::uintptr_t address, std::size_t bytes,
                              const char* verb, const std::string& why, const void* code) {
  Block::running().fail(fault,
                        std::string(verb) + " of " + std::to_string(bytes) + " bytes at " +
                            in_hexadecimal(address) + ": " + why,
                        code);
}

void check_allocated(std::uintptr_t address, std::size_t bytes, const char* verb,
                     const void* code) {
  std::string why;
  if (is_accessible(reinterpret_cast<const void*>(address), bytes, why)) return;
  fail_access(Fault::kIllegalAddress, address, bytes, verb, why, code);
}

// Weights, which alone may be read before pdl_wait(), are never written by a kernel.
void check_has_waited(std::uintptr_t address, std::size_t bytes, const char* verb,
                      const void* code) {
  if (Block::running().current().has_waited) return;
  fail_access(Fault::kLaunchFailure, address, bytes, verb,
              "it comes before pdl_wait(), while kernels before this one may still run", code);
}

template <class Word>
bool is_all(const std::uint8_t* shadow, Writer writer) {
  constexpr Word kEveryByte = static_cast<Word>(~Word{0}) / 255;
  Word word;
  std::memcpy(&word, shadow, sizeof word);
  return word == static_cast<Word>(kEveryByte * static_cast<Word>(writer));
}

// Whether all the bytes have this writer. Nearly every access asks it.
bool all_by(const std::uint8_t* shadow, std::size_t bytes, Writer writer) {
  switch (bytes) {
    case 1: return is_all<std::uint8_t>(shadow, writer);
    case 2: return is_all<std::uint16_t>(shadow, writer);
    case 4: return is_all<std::uint32_t>(shadow, writer);
    case 8: return is_all<std::uint64_t>(shadow, writer);
    default: break;
  }
  for (std::size_t i = 0; i < bytes; i++) {
    if (shadow[i] != static_cast<std::uint8_t>(writer)) return false;
  }
  return true;
}

bool any_by(const std::uint8_t* shadow, std::size_t bytes, Writer writer) {
  return std::memchr(shadow, static_cast<int>(writer), bytes) != nullptr;
}

// Devices that are not peers cannot use each other's memory.
void check_device(std::uintptr_t address, std::size_t bytes, const char* verb, const void* code) {
  const int device = Arena::instance().device_of(address);
  if (device < 0 || device == Block::running().launch().device) return;
  fail_access(Fault::kIllegalAddress, address, bytes, verb,
              "it is memory of device " + std::to_string(device), code);
}

void check_device_read(std::uintptr_t address, std::size_t bytes, const void* code) {
  check_device(address, bytes, "Read", code);
  const std::uint8_t* shadow = Arena::instance().shadow_of(address);
  if (all_by(shadow, bytes, Writer::kHost)) return;
  if (any_by(shadow, bytes, Writer::kNobody)) {
    check_allocated(address, bytes, "Read", code);
    fail_access(Fault::kIllegalAddress, address, bytes, "Read", "nobody has written them all",
                code);
  }
  check_has_waited(address, bytes, "Read", code);
}

void check_device_write(std::uintptr_t address, std::size_t bytes, const void* code) {
  std::uint8_t* shadow = Arena::instance().shadow_of(address);
  check_device(address, bytes, "Write", code);
  check_has_waited(address, bytes, "Write", code);
  if (all_by(shadow, bytes, Writer::kDevice)) return;
  check_allocated(address, bytes, "Write", code);
  std::memset(shadow, static_cast<int>(Writer::kDevice), bytes);
}

// What is neither shared memory nor of a device: stacks, constants, and mistakes.
void check_other(std::uintptr_t address, std::size_t bytes, Access access, const void* code) {
  Block& block = Block::running();
  const char* verb = access == Access::kRead ? "Read" : "Write";
  if (block.stacks().contains(address)) {
    if (block.stacks().owner(address) == block.current().index) return;
    fail_access(Fault::kIllegalAddress, address, bytes, verb,
                "it is a local variable of another thread", code);
  }
  if (access == Access::kRead && is_in_kernel_image(reinterpret_cast<const void*>(address))) return;
  check_allocated(address, bytes, verb, code);  // host memory that was registered
  check_has_waited(address, bytes, verb, code);
}

}  // namespace

void check_access(const void* pointer, std::size_t bytes, Access access, const void* code) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  SharedShadow& shared = Block::running().shared();
  if (shared.contains(address)) {
    shared.check(address, bytes, access, code);
  } else if (!Arena::instance().contains(address)) {
    check_other(address, bytes, access, code);
  } else {
    if (access != Access::kWrite) check_device_read(address, bytes, code);
    if (access != Access::kRead) check_device_write(address, bytes, code);
  }
}

void check_source(const void* pointer, std::size_t bytes, const void* code) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  check_allocated(address, bytes, "Copy", code);
  if (!Arena::instance().contains(address)) return;
  check_device(address, bytes, "Copy", code);
  const std::uint8_t* shadow = Arena::instance().shadow_of(address);
  if (any_by(shadow, bytes, Writer::kDevice)) check_has_waited(address, bytes, "Copy", code);
}

void check_alignment(const void* address, std::size_t alignment, const void* code) {
  const auto value = reinterpret_cast<std::uintptr_t>(address);
  if (value % alignment == 0) return;
  Block::running().fail(Fault::kMisalignedAddress,
                        "Access at " + in_hexadecimal(value) + ", which is not a multiple of " +
                            std::to_string(alignment),
                        code);
}

}  // namespace cuda_emulator
