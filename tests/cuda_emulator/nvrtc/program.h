// A program of the emulated NVRTC: CUDA C++ that g++ compiles for the host.
#ifndef CUDA_EMULATOR_NVRTC_PROGRAM_H
#define CUDA_EMULATOR_NVRTC_PROGRAM_H

#include <string>
#include <utility>
#include <vector>

namespace cuda_emulator {

struct SourceFile {
  std::string name;
  std::string text;
};

enum class CompileStatus { kSuccess, kInvalidOption, kCompilationFailed };

class Program {
 public:
  Program(SourceFile source, std::vector<SourceFile> headers)
      : source_(std::move(source)), headers_(std::move(headers)) {}

  CompileStatus compile(const std::vector<std::string>& options);

  const std::string& log() const { return log_; }
  const std::string& cubin() const { return cubin_; }  // empty until it has been compiled

 private:
  bool read_options(const std::vector<std::string>& options);
  CompileStatus compile_in(const std::string& folder);

  SourceFile source_;
  std::vector<SourceFile> headers_;
  std::string architecture_;
  std::string standard_;
  std::vector<std::string> definitions_;
  std::string log_;
  std::string cubin_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NVRTC_PROGRAM_H
