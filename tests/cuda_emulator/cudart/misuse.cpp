#include "misuse.h"

#include <cstdio>
#include <cstring>
#include <mutex>

namespace cuda_emulator {

namespace {

std::mutex& findings_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

std::string& findings() {
  static std::string& text = *new std::string;
  return text;
}

}  // namespace

void misuse(const char* function, const std::string& finding) {
  std::lock_guard lock(findings_mutex());
  std::string line = std::string(function) + ": " + finding + "\n";
  std::fprintf(stderr, "[cuda emulator] misuse: %s", line.c_str());
  findings() += line;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

// Copies the findings since the last call, one a line, into `text` and forgets them; returns their
// length. What does not fit is cut.
extern "C" std::size_t weft_emulator_take_misuses(char* text, std::size_t capacity) {
  std::lock_guard lock(findings_mutex());
  std::size_t length = findings().size() < capacity ? findings().size() : capacity;
  std::memcpy(text, findings().data(), length);
  findings().clear();
  return length;
}
