#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "../emulator.h"

namespace cuda_emulator {

namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGap = 4096;
constexpr std::size_t kPage = 4096;

// The pages cost nothing until they are touched; small ones, as tests touch little of much.
void* reserve(std::size_t bytes) {
  void* range = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    std::perror("[cuda emulator] cannot reserve addresses for device memory");
    std::abort();
  }
  madvise(range, bytes, MADV_NOHUGEPAGE);
  return range;
}

// Zeroes a range and gives whole pages back.
void drop(void* start, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  const std::uintptr_t first_page = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t last_page = (begin + bytes) / kPage * kPage;
  if (first_page >= last_page) {
    std::memset(start, 0, bytes);
    return;
  }
  std::memset(start, 0, first_page - begin);
  madvise(reinterpret_cast<void*>(first_page), last_page - first_page, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(last_page), 0, begin + bytes - last_page);
}

// Every allocation there has ever been, by address.
struct Table {
  std::mutex mutex;
  std::map<std::uintptr_t, Allocation> allocations;
  std::size_t used[Arena::kMaxDevices + 1] = {};  // bytes of each part, host memory first

  // The allocation with the highest address that is not above `address`.
  std::map<std::uintptr_t, Allocation>::iterator at_or_below(std::uintptr_t address) {
    auto above = allocations.upper_bound(address);
    return above == allocations.begin() ? allocations.end() : std::prev(above);
  }
};

Table& table() {
  static auto& instance = *new Table;  // never destroyed: memory is freed at any time
  return instance;
}

std::string describe(const Allocation& allocation) {
  static const char* const kinds[] = {"device memory", "pinned host memory",
                                      "registered host memory"};
  char text[128];
  std::snprintf(text, sizeof text, "%zu bytes of %s at 0x%zx (device %d)", allocation.bytes,
                kinds[static_cast<int>(allocation.kind)], allocation.address, allocation.device);
  return text;
}

}  // namespace

Arena::Arena()
    : base_(reinterpret_cast<std::uintptr_t>(reserve(kBytes))),
      shadow_(static_cast<std::uint8_t*>(reserve(kBytes))) {}

void* allocate(std::size_t bytes, MemoryKind kind, int device) {
  if (bytes == 0 || bytes > Arena::kPartBytes || device >= Arena::kMaxDevices) return nullptr;
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const int part = kind == MemoryKind::kDevice ? device : -1;
  std::size_t& used = all.used[part + 1];
  const std::size_t taken = (kGap + bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (taken > Arena::kPartBytes - kGap - used) return nullptr;
  const std::uintptr_t address = Arena::instance().part_of(part) + used + kGap;
  used += taken;
  all.allocations[address] = {address, bytes, kind, device, true};
  return reinterpret_cast<void*>(address);
}

bool release(const void* address) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const auto found = all.allocations.find(start);
  if (found == all.allocations.end() || !found->second.live) return false;
  if (found->second.kind == MemoryKind::kRegisteredHost) return false;
  found->second.live = false;
  drop(const_cast<void*>(address), found->second.bytes);
  drop(Arena::instance().shadow_of(start), found->second.bytes);
  return true;
}

bool register_host(const void* address, std::size_t bytes) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  if (bytes == 0 || Arena::instance().contains(start)) return false;
  const auto below = all.at_or_below(start + bytes - 1);
  if (below != all.allocations.end() && below->second.live &&
      below->second.address + below->second.bytes > start) {
    return false;
  }
  all.allocations[start] = {start, bytes, MemoryKind::kRegisteredHost, -1, true};
  return true;
}

bool unregister_host(const void* address) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.allocations.find(reinterpret_cast<std::uintptr_t>(address));
  if (found == all.allocations.end() || !found->second.live) return false;
  if (found->second.kind != MemoryKind::kRegisteredHost) return false;
  all.allocations.erase(found);
  return true;
}

bool find_allocation(const void* address, Allocation& found) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const auto below = all.at_or_below(start);
  if (below == all.allocations.end()) return false;
  if (start - below->second.address >= below->second.bytes) return false;
  found = below->second;
  return true;
}

std::vector<Allocation> live_allocations() {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::vector<Allocation> live;
  for (const auto& [address, allocation] : all.allocations) {
    if (allocation.live) live.push_back(allocation);
  }
  return live;
}

bool is_accessible(const void* address, std::size_t bytes, std::string& why) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const auto below = all.at_or_below(start);
  if (below == all.allocations.end()) {
    why = start == 0 ? "a null pointer" : "no memory of a device";
    return false;
  }
  const Allocation& allocation = below->second;
  const std::size_t offset = start - allocation.address;
  if (offset < allocation.bytes && !allocation.live) {
    why = "freed memory: byte " + std::to_string(offset) + " of " + describe(allocation);
    return false;
  }
  if (offset < allocation.bytes && bytes <= allocation.bytes - offset) return true;
  why = Arena::instance().contains(start)
            ? "out of bounds: byte " + std::to_string(offset) + " of " + describe(allocation)
            : "no memory of a device";
  return false;
}

void mark_written(const void* address, std::size_t bytes, Writer writer) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  if (!Arena::instance().contains(start)) return;
  std::memset(Arena::instance().shadow_of(start), static_cast<int>(writer), bytes);
}

void settle_writes(int device) {
  const auto by_device = static_cast<std::uint8_t>(Writer::kDevice);
  const auto by_host = static_cast<std::uint8_t>(Writer::kHost);
  for (const Allocation& allocation : live_allocations()) {
    if (allocation.kind != MemoryKind::kDevice || allocation.device != device) continue;
    std::uint8_t* shadow = Arena::instance().shadow_of(allocation.address);
    for (std::size_t page = 0; page < allocation.bytes; page += kPage) {
      std::uint8_t* begin = shadow + page;
      std::uint8_t* end = shadow + std::min(page + kPage, allocation.bytes);
      // Most pages have nothing to settle, and need not become this process's own.
      if (std::memchr(begin, by_device, end - begin) == nullptr) continue;
      std::replace(begin, end, by_device, by_host);
    }
  }
}

void copy_written(const void* destination, const void* source, std::size_t bytes) {
  const Arena& arena = Arena::instance();
  const auto from = reinterpret_cast<std::uintptr_t>(source);
  const auto to = reinterpret_cast<std::uintptr_t>(destination);
  if (!arena.contains(to)) return;
  if (!arena.contains(from)) {
    mark_written(destination, bytes, Writer::kHost);
    return;
  }
  std::memmove(arena.shadow_of(to), arena.shadow_of(from), bytes);
}

std::size_t first_unwritten(const void* address, std::size_t bytes) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  if (!Arena::instance().contains(start) || bytes == 0) return bytes;
  const std::uint8_t* shadow = Arena::instance().shadow_of(start);
  const void* unwritten = std::memchr(shadow, static_cast<int>(Writer::kNobody), bytes);
  if (unwritten == nullptr) return bytes;
  return static_cast<std::size_t>(static_cast<const std::uint8_t*>(unwritten) - shadow);
}

}  // namespace cuda_emulator
