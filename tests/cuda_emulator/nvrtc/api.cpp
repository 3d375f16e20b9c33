// The functions of libnvrtc that weft calls.
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "program.h"
#include "toolchain.h"

using cuda_emulator::CompileStatus;
using cuda_emulator::known_architectures;
using cuda_emulator::Program;
using cuda_emulator::SourceFile;

namespace {

constexpr int kMajor = 13;
constexpr int kMinor = 0;

enum Result : int {
  kSuccess = 0,
  kInvalidInput = 3,
  kInvalidProgram = 4,
  kInvalidOption = 5,
  kCompilation = 6,
  kInternalError = 11,
};

Result to_result(CompileStatus status) {
  switch (status) {
    case CompileStatus::kSuccess: return kSuccess;
    case CompileStatus::kInvalidOption: return kInvalidOption;
    case CompileStatus::kCompilationFailed: return kCompilation;
  }
  return kInternalError;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  if (major == nullptr || minor == nullptr) return kInvalidInput;
  *major = kMajor;
  *minor = kMinor;
  return kSuccess;
}

const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case kSuccess: return "NVRTC_SUCCESS";
    case kInvalidInput: return "NVRTC_ERROR_INVALID_INPUT";
    case kInvalidProgram: return "NVRTC_ERROR_INVALID_PROGRAM";
    case kInvalidOption: return "NVRTC_ERROR_INVALID_OPTION";
    case kCompilation: return "NVRTC_ERROR_COMPILATION";
    case kInternalError: return "NVRTC_ERROR_INTERNAL_ERROR";
    default: return "NVRTC_ERROR unknown";
  }
}

int nvrtcGetNumSupportedArchs(int* count) {
  if (count == nullptr) return kInvalidInput;
  *count = static_cast<int>(known_architectures().size());
  return kSuccess;
}

int nvrtcGetSupportedArchs(int* architectures) {
  if (architectures == nullptr) return kInvalidInput;
  for (const int each : known_architectures()) *architectures++ = each;
  return kSuccess;
}

int nvrtcCreateProgram(Program** program, const char* source, const char* name, int header_count,
                       const char* const* headers, const char* const* header_names) {
  if (program == nullptr || source == nullptr || header_count < 0) return kInvalidInput;
  if (header_count > 0 && (headers == nullptr || header_names == nullptr)) return kInvalidInput;
  std::vector<SourceFile> files;
  for (int i = 0; i < header_count; i++) {
    if (headers[i] == nullptr || header_names[i] == nullptr) return kInvalidInput;
    files.push_back({header_names[i], headers[i]});
  }
  *program = new Program({name == nullptr ? "default_program" : name, source}, std::move(files));
  return kSuccess;
}

int nvrtcDestroyProgram(Program** program) {
  if (program == nullptr || *program == nullptr) return kInvalidProgram;
  delete *program;
  *program = nullptr;
  return kSuccess;
}

int nvrtcCompileProgram(Program* program, int option_count, const char* const* options) {
  if (program == nullptr) return kInvalidProgram;
  if (option_count < 0 || (option_count > 0 && options == nullptr)) return kInvalidInput;
  return to_result(program->compile({options, options + option_count}));
}

int nvrtcGetProgramLogSize(const Program* program, std::size_t* size) {
  if (program == nullptr) return kInvalidProgram;
  if (size == nullptr) return kInvalidInput;
  *size = program->log().size() + 1;  // with its end
  return kSuccess;
}

int nvrtcGetProgramLog(const Program* program, char* log) {
  if (program == nullptr) return kInvalidProgram;
  if (log == nullptr) return kInvalidInput;
  std::memcpy(log, program->log().c_str(), program->log().size() + 1);
  return kSuccess;
}

int nvrtcGetCUBINSize(const Program* program, std::size_t* size) {
  if (program == nullptr || program->cubin().empty()) return kInvalidProgram;
  if (size == nullptr) return kInvalidInput;
  *size = program->cubin().size();
  return kSuccess;
}

int nvrtcGetCUBIN(const Program* program, char* cubin) {
  if (program == nullptr || program->cubin().empty()) return kInvalidProgram;
  if (cubin == nullptr) return kInvalidInput;
  std::memcpy(cubin, program->cubin().data(), program->cubin().size());
  return kSuccess;
}

}  // extern "C"
