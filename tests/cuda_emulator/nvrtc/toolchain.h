// The runs of g++ that make a program into a shared object.
#ifndef CUDA_EMULATOR_NVRTC_TOOLCHAIN_H
#define CUDA_EMULATOR_NVRTC_TOOLCHAIN_H

#include <string>
#include <vector>

namespace cuda_emulator {

inline constexpr char kPreprocessedFile[] = "preprocessed.out";
inline constexpr char kEntriesFile[] = "entries.ii";
inline constexpr char kSharedObjectFile[] = "kernels.out";

// The compute capabilities that the emulated compiler knows, in rising order.
const std::vector<int>& known_architectures();
bool is_known_architecture(const std::string& number);

// A new folder that is removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Each step reads and writes files in the folder, adds what g++ says to `log`, and returns whether
// it has succeeded.
class Toolchain {
 public:
  explicit Toolchain(std::string folder);

  // The emulator's headers for kernels.
  std::string include() const { return home_ + "/include"; }

  // `architecture` is the value of __CUDA_ARCH__.
  bool preprocess(const std::string& source, const std::string& standard,
                  const std::string& architecture, const std::vector<std::string>& definitions,
                  std::string& log) const;
  bool compile(const std::string& standard, std::string& log) const;
  bool link(std::string& log) const;

 private:
  bool run(const std::string& arguments, std::string& log) const;

  std::string folder_;
  std::string home_;  // of this library, with the core and include/ beside it
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NVRTC_TOOLCHAIN_H
