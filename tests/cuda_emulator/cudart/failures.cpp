#include "failures.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace cuda_emulator {

namespace {

constexpr const char* kNames[] = {"allocation", "memory",      "host_allocation",
                                  "host_registration", "launch", "hang",
                                  "nccl_remote_error", "nccl_hang", "nccl_init_hang"};
constexpr int kAnyDevice = -1;

struct Request {
  Failure failure;
  std::uint64_t value;
  int device;
  std::uint64_t occasions = 0;
};

// False when the text is not NAME=NUMBER or NAME=NUMBER@DEVICE.
bool parse(const std::string& text, Request& request) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return false;
  for (int index = 0; index < static_cast<int>(std::size(kNames)); ++index) {
    if (text.compare(0, equals, kNames[index]) != 0) continue;
    char* rest = nullptr;
    request.failure = static_cast<Failure>(index);
    request.value = std::strtoull(text.c_str() + equals + 1, &rest, 10);
    request.device = kAnyDevice;
    if (*rest == '@') request.device = static_cast<int>(std::strtol(rest + 1, &rest, 10));
    return *rest == '\0' && request.value > 0;
  }
  return false;
}

bool parse_list(const char* text, std::vector<Request>& requests) {
  std::istringstream list(text);
  for (std::string item; std::getline(list, item, ',');) {
    Request request;
    if (!parse(item, request)) return false;
    requests.push_back(request);
  }
  return true;
}

std::mutex& requests_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

std::vector<Request>& requests() {
  static std::vector<Request>& all = *[] {
    auto* from_environment = new std::vector<Request>;
    const char* text = std::getenv("WEFT_EMULATED_FAILURES");
    if (text && !parse_list(text, *from_environment)) {
      std::fprintf(stderr, "[cuda emulator] cannot read WEFT_EMULATED_FAILURES: %s\n", text);
      std::abort();
    }
    return from_environment;
  }();
  return all;
}

}  // namespace

bool is_due(Failure failure, int device) {
  std::lock_guard lock(requests_mutex());
  bool due = false;
  for (Request& request : requests()) {
    if (request.failure != failure) continue;
    if (request.device != kAnyDevice && request.device != device) continue;
    due |= ++request.occasions == request.value;
  }
  return due;
}

std::uint64_t failure_value(Failure failure, int device) {
  std::lock_guard lock(requests_mutex());
  for (const Request& request : requests()) {
    if (request.failure != failure) continue;
    if (request.device == kAnyDevice || request.device == device) return request.value;
  }
  return 0;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

// Replaces the failures that are asked for, and counts anew; the empty text asks for none. Returns 1
// when the text cannot be read.
extern "C" int weft_emulator_inject_failures(const char* text) {
  std::vector<Request> parsed;
  if (!parse_list(text, parsed)) return 1;
  std::lock_guard lock(requests_mutex());
  requests() = std::move(parsed);
  return 0;
}
