#include "kernel_image.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>

#include "../emulator.h"

namespace cuda_emulator {

// The memory file stays open as long as the image is loaded, so that addr2line can read it.
struct KernelImage {
  int file = -1;
  void* handle = nullptr;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::vector<const Kernel*> kernels;

  KernelImage() = default;
  KernelImage(const KernelImage&) = delete;
  KernelImage& operator=(const KernelImage&) = delete;
  ~KernelImage() {
    if (handle != nullptr) dlclose(handle);
    if (file >= 0) close(file);
  }

  std::string path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file);
  }
};

namespace {

struct Images {
  std::mutex mutex;
  std::vector<const KernelImage*> loaded;
};

Images& images() {
  static auto& instance = *new Images;  // never destroyed: images are unloaded at any time
  return instance;
}

bool write_all(int file, const char* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t written = write(file, bytes, count);
    if (written <= 0) return false;
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
  return true;
}

// Where the loader has put the image's segments.
void find_extent(KernelImage& image) {
  const link_map* map = nullptr;
  if (dlinfo(image.handle, RTLD_DI_LINKMAP, &map) != 0) return;
  const auto visit = [](dl_phdr_info* info, std::size_t, void* data) {
    auto& found = *static_cast<KernelImage*>(data);
    if (info->dlpi_addr != found.begin) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
      const auto& segment = info->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD) continue;
      found.end = std::max<std::uintptr_t>(
          found.end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
    }
    return 1;
  };
  image.begin = map->l_addr;
  dl_iterate_phdr(visit, &image);
}

}  // namespace

KernelImage* load_kernels(const void* cubin, std::string& why) {
  CubinHeader header;
  std::memcpy(&header, cubin, sizeof header);
  if (std::memcmp(header.magic, kCubinMagic, sizeof kCubinMagic) != 0) {
    why = "the image was not made by the emulated NVRTC";
    return nullptr;
  }
  auto image = std::make_unique<KernelImage>();
  image->file = memfd_create("weft_kernels", MFD_CLOEXEC);
  if (image->file < 0 ||
      !write_all(image->file, static_cast<const char*>(cubin) + sizeof header, header.bytes)) {
    why = "the image cannot be written to a memory file";
    return nullptr;
  }
  image->handle = dlopen(image->path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (image->handle == nullptr) {
    why = dlerror();
    return nullptr;
  }
  const auto table = reinterpret_cast<KernelTable (*)()>(dlsym(image->handle, kTableFunction));
  if (table == nullptr) {
    why = "the image has no table of kernels";
    return nullptr;
  }
  image->kernels.assign(table().begin, table().end);
  find_extent(*image);
  Images& all = images();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.loaded.push_back(image.get());
  return image.release();
}

void unload_kernels(KernelImage* image) {
  {
    Images& all = images();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.loaded.erase(std::remove(all.loaded.begin(), all.loaded.end(), image), all.loaded.end());
  }
  delete image;
}

const Kernel* find_kernel(const KernelImage* image, const char* name) {
  for (const Kernel* kernel : image->kernels) {
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  }
  return nullptr;
}

std::vector<const Kernel*> kernels_of(const KernelImage* image) { return image->kernels; }

bool is_in_kernel_image(const void* address) {
  Images& all = images();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto value = reinterpret_cast<std::uintptr_t>(address);
  return std::any_of(all.loaded.begin(), all.loaded.end(), [value](const KernelImage* image) {
    return image->begin <= value && value < image->end;
  });
}

std::string source_line(const void* code) {
  // A return address is the one after the call.
  const auto address = reinterpret_cast<std::uintptr_t>(code) - 1;
  std::string command;
  {
    Images& all = images();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const KernelImage* image : all.loaded) {
      if (address < image->begin || address >= image->end) continue;
      char offset[32];
      std::snprintf(offset, sizeof offset, "0x%zx", address - image->begin);
      command = "addr2line -e " + image->path() + " " + offset + " 2>/dev/null";
    }
  }
  if (command.empty()) return "";
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return "";
  char line[512] = "";
  const bool read = std::fgets(line, sizeof line, output) != nullptr;
  pclose(output);
  if (!read || line[0] == '?') return "";
  std::string text(line);
  text.erase(text.find_first_of(" \n"));  // addr2line may add a discriminator
  return " at " + text.substr(text.find_last_of('/') + 1);
}

}  // namespace cuda_emulator
