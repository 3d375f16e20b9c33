// What tests ask of the emulator itself.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "capture.h"
#include "status.h"

namespace cuda_emulator {

namespace {

std::string describe_leaks(std::size_t& count) {
  std::string text;
  auto add = [&](const std::string& line) {
    text += line + "\n";
    ++count;
  };
  static const char* const kinds[] = {"device memory", "pinned host memory",
                                      "registered host memory"};
  for (const Allocation& allocation : live_allocations()) {
    char line[96];
    std::snprintf(line, sizeof line, "%zu bytes of %s at 0x%zx", allocation.bytes,
                  kinds[static_cast<int>(allocation.kind)], allocation.address);
    add(line);
  }
  for (const HandleTableBase* table : handle_tables()) {
    for (std::size_t index = 0; index < table->size(); ++index) add(table->kind());
  }
  return text;
}

// Prints what is left when a process ends that was asked to: a test cannot call into its ranks.
struct ReportAtExit {
  // What is looked at in the end has to be made before, so that it is there still.
  ReportAtExit() { live_allocations(); }
  ~ReportAtExit() {
    const char* wanted = std::getenv("WEFT_EMULATED_LEAK_REPORT");
    if (!wanted || std::strcmp(wanted, "1") != 0) return;
    std::size_t count = 0;
    const std::string leaks = describe_leaks(count);
    if (count > 0) std::fprintf(stderr, "[cuda emulator] not freed at exit:\n%s", leaks.c_str());
  }
} report_at_exit;

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

// The number of things that are not freed; `text` gets a line for each, cut at `capacity`, and ends
// with a NUL.
std::size_t weft_emulator_check_leaks(char* text, std::size_t capacity) {
  std::size_t count = 0;
  const std::string leaks = describe_leaks(count);
  std::snprintf(text, capacity, "%s", leaks.c_str());
  return count;
}

// What the first fault since the last reset was, as weft_emulator_check_leaks gives text; empty while
// there has been none.
void weft_emulator_describe_fault(char* text, std::size_t capacity) {
  std::snprintf(text, capacity, "%s", fault_message().c_str());
}

// Makes the process as if it had never used a GPU: work, captures, handles, memory and faults go. A
// fault leaves no other way to free what it has hit.
void weft_emulator_reset() {
  {
    Lock lock(runtime_mutex());
    forget_captures();
    forget_all_work();
  }
  for (HandleTableBase* table : handle_tables()) table->clear();
  for (const Allocation& allocation : live_allocations()) {
    const auto* address = reinterpret_cast<const void*>(allocation.address);
    if (!unregister_host(address)) release(address);
  }
  clear_fault();
  forget_last_error();
}

}  // extern "C"
