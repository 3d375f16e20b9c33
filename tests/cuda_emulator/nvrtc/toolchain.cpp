#include "toolchain.h"

#include <dlfcn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "../emulator.h"

namespace cuda_emulator {

namespace {

constexpr char kObjectFile[] = "kernels.o";

// Every access that may be to shared or device memory calls the core, which is there instead of the
// sanitizers' libraries; alignments are checked before the optimizer splits vectors. Aliasing is as
// loose as nvcc's practice, products and sums are rounded one by one.
constexpr char kCodeOptions[] =
    "-O1 -g1 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -fno-strict-aliasing "
    "-fno-math-errno -ffp-contract=off -fsanitize=thread,alignment,bounds "
    "--param tsan-instrument-func-entry-exit=0 -w";

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

std::string folder_of_this_library() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&folder_of_this_library), &info) == 0) {
    throw std::runtime_error("cannot find the folder of the emulated NVRTC");
  }
  return std::filesystem::absolute(info.dli_fname).parent_path().string();
}

}  // namespace

const std::vector<int>& known_architectures() {
  static const std::vector<int> architectures = {75, 80, 86, 87, 89, 90, 100, 103, 120};
  return architectures;
}

bool is_known_architecture(const std::string& number) {
  const auto& known = known_architectures();
  return std::any_of(known.begin(), known.end(),
                     [&number](int each) { return std::to_string(each) == number; });
}

TemporaryFolder::TemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "weft-nvrtc-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Toolchain::Toolchain(std::string folder)
    : folder_(std::move(folder)), home_(folder_of_this_library()) {}

bool Toolchain::run(const std::string& arguments, std::string& log) const {
  // In the folder, so that messages name files as the program does.
  const std::string command = "cd " + quoted(folder_) + " && LC_ALL=C g++ " + arguments + " 2>&1";
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) throw std::runtime_error("cannot run g++");
  char buffer[4096];
  std::size_t count;
  while ((count = std::fread(buffer, 1, sizeof buffer, output)) > 0) log.append(buffer, count);
  const int status = pclose(output);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool Toolchain::preprocess(const std::string& source, const std::string& standard,
                           const std::string& architecture,
                           const std::vector<std::string>& definitions, std::string& log) const {
  std::string arguments = "-E -x c++ -nostdinc -std=" + standard +
                          " -D__CUDA_ARCH__=" + architecture + " -include " +
                          quoted(include() + "/cuda_device.h");
  for (const std::string& definition : definitions) arguments += " -D" + quoted(definition);
  return run(arguments + " " + quoted(source) + " -o " + kPreprocessedFile, log);
}

bool Toolchain::compile(const std::string& standard, std::string& log) const {
  return run(std::string(kCodeOptions) + " -std=" + standard + " -fpreprocessed -c " +
                 kEntriesFile + " -o " + kObjectFile,
             log);
}

bool Toolchain::link(std::string& log) const {
  // Linked with the core by its file, but found by its SONAME when it is loaded.
  return run(std::string("-shared -Wl,-z,defs ") + kObjectFile + " " +
                 quoted(home_ + "/" + kCoreLibrary) + " -lm -o " + kSharedObjectFile,
             log);
}

}  // namespace cuda_emulator
