// Faults stay until they are cleared, as errors of a GPU's context do.
#include <cstdio>
#include <mutex>

#include "../emulator.h"

namespace cuda_emulator {

namespace {

struct FirstFault {
  std::mutex mutex;
  int status = 0;
  std::string message;
};

FirstFault& first_fault() {
  static auto& fault = *new FirstFault;  // never destroyed: work may end after main()
  return fault;
}

}  // namespace

void report(Fault fault, const std::string& message) {
  FirstFault& first = first_fault();
  const std::lock_guard<std::mutex> lock(first.mutex);
  std::fprintf(stderr, "[cuda emulator] %s\n", message.c_str());
  if (first.status != 0) return;
  first.status = static_cast<int>(fault);
  first.message = message;
}

int sticky_error() {
  FirstFault& first = first_fault();
  const std::lock_guard<std::mutex> lock(first.mutex);
  return first.status;
}

std::string fault_message() {
  FirstFault& first = first_fault();
  const std::lock_guard<std::mutex> lock(first.mutex);
  return first.message;
}

void clear_fault() {
  FirstFault& first = first_fault();
  const std::lock_guard<std::mutex> lock(first.mutex);
  first.status = 0;
  first.message.clear();
}

}  // namespace cuda_emulator
