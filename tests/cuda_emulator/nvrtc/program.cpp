#include "program.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "../core/kernel_image.h"
#include "kernel_entries.h"
#include "toolchain.h"

namespace cuda_emulator {

namespace {

// The header that the emulator twins; the program's own text of it is not used.
constexpr char kTwinned[] = "ptx.cuh";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

std::string to_cubin(const std::string& shared_object) {
  CubinHeader header;
  std::memcpy(header.magic, kCubinMagic, sizeof header.magic);
  header.bytes = shared_object.size();
  std::string cubin(sizeof header, '\0');
  std::memcpy(cubin.data(), &header, sizeof header);
  return cubin + shared_object;
}

// The value of the option `name=value`; false when `option` is another.
bool has_value(const std::string& option, const std::string& name, std::string& value) {
  if (option.compare(0, name.size() + 1, name + "=") != 0) return false;
  value = option.substr(name.size() + 1);
  return true;
}

}  // namespace

// Options that the emulator gives their meaning; it knows no others.
bool Program::read_options(const std::vector<std::string>& options) {
  std::string architecture = "sm_75";  // NVRTC's default
  standard_ = "c++17";
  definitions_.clear();
  for (const std::string& option : options) {
    std::string definition;
    if (has_value(option, "--gpu-architecture", architecture)) continue;
    if (has_value(option, "-arch", architecture)) continue;
    if (has_value(option, "--std", standard_) || has_value(option, "-std", standard_)) continue;
    if (has_value(option, "--define-macro", definition)) {
      definitions_.push_back(definition);
      continue;
    }
    // Functions are for the only device there is, and lines are always known.
    if (option == "-default-device" || option == "--device-as-default-execution-space") continue;
    if (option == "-lineinfo" || option == "--generate-line-info") continue;
    log_ = "nvrtc: error: invalid value or unknown option: " + option + "\n";
    return false;
  }
  if (architecture.compare(0, 3, "sm_") != 0 || !is_known_architecture(architecture.substr(3))) {
    log_ = "nvrtc: error: invalid value for --gpu-architecture: " + architecture + "\n";
    return false;
  }
  if (standard_ != "c++14" && standard_ != "c++17" && standard_ != "c++20") {
    log_ = "nvrtc: error: invalid value for --std: " + standard_ + "\n";
    return false;
  }
  architecture_ = architecture.substr(3) + "0";
  return true;
}

CompileStatus Program::compile(const std::vector<std::string>& options) {
  log_.clear();
  cubin_.clear();
  if (!read_options(options)) return CompileStatus::kInvalidOption;
  try {
    const TemporaryFolder folder;
    return compile_in(folder.path());
  } catch (const std::exception& error) {
    log_ += std::string("emulated nvrtc: error: ") + error.what() + "\n";
    return CompileStatus::kCompilationFailed;
  }
}

CompileStatus Program::compile_in(const std::string& folder) {
  const Toolchain toolchain(folder);
  for (const SourceFile& header : headers_) {
    if (header.name.find('/') != std::string::npos) {
      throw std::runtime_error("a header's name has a folder: " + header.name);
    }
    write_file(folder + "/" + header.name, header.name == kTwinned
                                               ? read_file(toolchain.include() + "/" + kTwinned)
                                               : header.text);
  }
  write_file(folder + "/" + source_.name, source_.text);
  if (!toolchain.preprocess(source_.name, standard_, architecture_, definitions_, log_)) {
    return CompileStatus::kCompilationFailed;
  }
  write_file(folder + "/" + kEntriesFile,
             add_kernel_entries(read_file(folder + "/" + kPreprocessedFile)));
  if (!toolchain.compile(standard_, log_) || !toolchain.link(log_)) {
    return CompileStatus::kCompilationFailed;
  }
  cubin_ = to_cubin(read_file(folder + "/" + kSharedObjectFile));
  return CompileStatus::kSuccess;
}

}  // namespace cuda_emulator
