// The core of the CUDA emulator, as its cudart, cuBLAS, NVRTC and NCCL see it: device memory with a
// shadow, kernels that run on fibers, and faults.
//
// The core (core/*.cpp) is part of the emulated libcudart, which is linked with the SONAME
// kCoreLibrary: compiled kernels and the other libraries, which are linked with that file, name it as
// needed and find the one that is loaded, wherever it lies. The emulated libnvrtc is nvrtc/*.cpp; it
// expects the core and a copy of the folder include/ beside itself.
#ifndef CUDA_EMULATOR_EMULATOR_H
#define CUDA_EMULATOR_EMULATOR_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "include/kernel_table.h"

namespace cuda_emulator {

inline constexpr char kCoreLibrary[] = "libweft_cuda_emulator.so";

// ---- Faults (faults.cpp) -------------------------------------------------------------------------

// The cudaError_t values that a fault leaves behind.
enum class Fault : int {
  kIllegalAddress = 700,
  kMisalignedAddress = 716,
  kLaunchFailure = 719,
};

// Records a fault of the device and prints it. As on a GPU, the first one stays: every later call
// has to fail with it (sticky_error) until the process ends or a test calls clear_fault.
void report(Fault fault, const std::string& message);
int sticky_error();           // 0 while there has been no fault
std::string fault_message();  // of the first fault; empty while there has been none
void clear_fault();

// ---- Memory (memory.cpp) -------------------------------------------------------------------------

enum class MemoryKind : std::uint8_t { kDevice, kPinnedHost, kRegisteredHost };

struct Allocation {
  std::uintptr_t address;
  std::size_t bytes;
  MemoryKind kind;
  int device;
  bool live;  // false once released; addresses are never used again
};

// Memory with 256-byte alignment and an unused gap on both sides. Null when `bytes` is 0 or the
// reserved addresses are used up; limits on a device's memory are the caller's.
void* allocate(std::size_t bytes, MemoryKind kind, int device);
// False when `address` is not the start of a live allocation.
bool release(const void* address);
// Host memory that kernels may use from now on (cudaHostRegister); it counts as written.
bool register_host(const void* address, std::size_t bytes);
bool unregister_host(const void* address);

// The allocation that holds `address`, live or released; false when there has never been one.
bool find_allocation(const void* address, Allocation& found);
std::vector<Allocation> live_allocations();

// Whether all the bytes lie in one live allocation; if not, `why` says what they are instead.
bool is_accessible(const void* address, std::size_t bytes, std::string& why);

// Who wrote a byte last. Kernels may not read what the device wrote before they called pdl_wait().
enum class Writer : std::uint8_t { kNobody = 0, kHost = 1, kDevice = 2 };

void mark_written(const void* address, std::size_t bytes, Writer writer);
// All work of a device has ended, and the host knows it: what the device wrote may be read at any time.
void settle_writes(int device);
// Gives the destination the source's record, for copies within and between devices.
void copy_written(const void* destination, const void* source, std::size_t bytes);
// The index of the first byte that nobody has written; `bytes` when there is none.
std::size_t first_unwritten(const void* address, std::size_t bytes);

// ---- Kernels (kernel_image.cpp, launch.cpp) ------------------------------------------------------

struct KernelImage;  // a loaded "cubin"

// Null, with the reason, when the bytes are not what the emulated NVRTC made. The image's kernels
// are valid until unload_kernels; the caller makes sure that none is queued then.
KernelImage* load_kernels(const void* cubin, std::string& why);
void unload_kernels(KernelImage* image);
const Kernel* find_kernel(const KernelImage* image, const char* name);
std::vector<const Kernel*> kernels_of(const KernelImage* image);

struct Launch {
  const Kernel* kernel;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  int device;
};

// Runs a kernel to its end. `arguments` are addresses of values of the sizes that the kernel's table
// gives. Returns false after a fault, which is then reported. Blocks run one after another in an
// order that the seed decides (WEFT_EMULATED_SEED, printed with every fault). Safe to call from
// several threads: kernels take turns.
bool run_kernel(const Launch& launch, void** arguments);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_EMULATOR_H
