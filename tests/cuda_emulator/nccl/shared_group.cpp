#include "shared_group.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <map>
#include <mutex>

namespace cuda_emulator {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHeaderBytes = (sizeof(GroupHeader) + kPage - 1) / kPage * kPage;
constexpr std::size_t kCollectiveAreas = kMaxRanks * 2;
constexpr std::size_t kPairAreas = kMaxRanks * kMaxRanks;
constexpr std::size_t kBytes = kHeaderBytes + (kCollectiveAreas + kPairAreas) * kMessageBytes;

std::mutex& own_files_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

// Files that this process keeps open, by token: several of its ranks may forget the same one.
std::map<std::uint64_t, int>& own_files() {
  static auto& files = *new std::map<std::uint64_t, int>;
  return files;
}

void* map(int file) {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

bool SharedGroup::make(GroupName& name) {
  if (getrandom(&name.token, sizeof name.token, 0) != sizeof name.token) return false;
  name.process = getpid();
  name.file = memfd_create("weft-emulated-nccl", MFD_CLOEXEC);
  if (name.file < 0) return false;
  if (ftruncate(name.file, static_cast<off_t>(kBytes)) != 0 ||
      pwrite(name.file, &name.token, sizeof name.token, 0) != sizeof name.token) {
    close(name.file);
    return false;
  }
  std::lock_guard lock(own_files_mutex());
  own_files()[name.token] = name.file;
  return true;
}

void SharedGroup::forget(const GroupName& name) {
  std::lock_guard lock(own_files_mutex());
  auto found = own_files().find(name.token);
  if (found == own_files().end()) return;
  close(found->second);
  own_files().erase(found);
}

std::shared_ptr<SharedGroup> SharedGroup::open(const GroupName& name, std::string& why) {
  const std::string path =
      "/proc/" + std::to_string(name.process) + "/fd/" + std::to_string(name.file);
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {
    why = "the process that made the id is gone";
    return nullptr;
  }
  // The number may belong to another file by now, so nothing is mapped before it is known.
  std::uint64_t token = 0;
  const bool is_it = pread(file, &token, sizeof token, 0) == sizeof token && token == name.token;
  void* memory = is_it ? map(file) : nullptr;
  close(file);
  if (!memory) {
    why = "the id is not, or no longer, one of ncclGetUniqueId";
    return nullptr;
  }
  return std::shared_ptr<SharedGroup>(new SharedGroup(memory));
}

SharedGroup::SharedGroup(void* memory)
    : header_(static_cast<GroupHeader*>(memory)),
      data_(static_cast<unsigned char*>(memory) + kHeaderBytes) {}

SharedGroup::~SharedGroup() { munmap(header_, kBytes); }

unsigned char* SharedGroup::collective_data(int rank, std::uint64_t number) {
  return data_ + (static_cast<std::size_t>(rank) * 2 + number % 2) * kMessageBytes;
}

unsigned char* SharedGroup::pair_data(int source, int destination) {
  const std::size_t pair = static_cast<std::size_t>(source) * kMaxRanks +
                           static_cast<std::size_t>(destination);
  return data_ + (kCollectiveAreas + pair) * kMessageBytes;
}

void SharedGroup::demand(int rank) {
  slot(rank).demand.fetch_add(1);
  syscall(SYS_futex, &slot(rank).demand, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

void SharedGroup::wait_for_demand(int rank, std::uint32_t seen) {
  const timespec limit = {0, 100'000'000};
  syscall(SYS_futex, &slot(rank).demand, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

}  // namespace cuda_emulator
