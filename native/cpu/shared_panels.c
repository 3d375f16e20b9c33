// Packed weights that replicas of a host share: a file in memory without a name, filled by one of them
// and then sealed, so that nobody can change it. Statuses are 0 or a negated errno.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 * 1024 * 1024 };

// Newer than the headers of some systems that run on a kernel which has them.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

// An empty file. Returns a file descriptor or -errno.
int32_t weft_panels_create(void) {
  const int fd = memfd_create("weft-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return fd < 0 ? -errno : fd;
}

// Opens a file by the path of a descriptor of the process that has it; -EINVAL when what is there now is
// no file in memory. Returns a file descriptor or -errno.
int32_t weft_panels_open(const char* path) {
  const int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -errno;
  if (fcntl(fd, F_GET_SEALS) >= 0) return fd;
  close(fd);
  return -EINVAL;
}

// Addresses for `bytes` bytes, a multiple of 2 MiB and aligned to that; nothing can be read there yet.
int64_t weft_panels_reserve(uint64_t bytes) {
  const uint64_t mapped = bytes + HUGE_PAGE;
  char* memory =
      mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  const uint64_t before = -(uintptr_t)memory % HUGE_PAGE;
  if (before > 0) munmap(memory, before);
  munmap(memory + before + bytes, HUGE_PAGE - before);
  return (int64_t)(intptr_t)(memory + before);
}

// Makes the file end at `end` and maps its bytes from `begin` on, both multiples of 2 MiB, for writing at
// `memory` + `begin`. Returns how many of the new pages of 2 MiB are huge, or -errno.
//
// Whether a file in memory gets huge pages when it is touched is a setting of the system, and mostly off.
// Collapsing small pages is not subject to it (Linux 6.1), but one of them must be there already.
int64_t weft_panels_extend(int32_t fd, char* memory, uint64_t begin, uint64_t end) {
  if (ftruncate(fd, (off_t)end) != 0) return -errno;
  char* const first = memory + begin;
  const uint64_t bytes = end - begin;
  if (mmap(first, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)begin) ==
      MAP_FAILED) {
    return -errno;
  }
  madvise(first, bytes, MADV_HUGEPAGE);
  for (uint64_t i = 0; i < bytes; i += HUGE_PAGE) *(volatile char*)(first + i) = 0;
  madvise(first, bytes, MADV_COLLAPSE);
  // Of a huge page that was touched at its beginning the end is there, too.
  int64_t huge = 0;
  const uint64_t small_page = (uint64_t)sysconf(_SC_PAGESIZE);
  for (uint64_t i = HUGE_PAGE; i <= bytes; i += HUGE_PAGE) {
    unsigned char resident = 0;
    if (mincore(first + i - small_page, small_page, &resident) == 0) huge += resident & 1;
  }
  return huge;
}

// Maps the first `bytes` bytes of a file, a multiple of 2 MiB, for reading. Returns the address or -errno.
int64_t weft_panels_map(int32_t fd, uint64_t bytes) {
  const int64_t reserved = weft_panels_reserve(bytes);
  if (reserved < 0 || bytes == 0) return reserved;
  void* memory = (void*)(intptr_t)reserved;
  if (mmap(memory, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED) return reserved;
  const int error = errno;
  munmap(memory, bytes);
  return -error;
}

// From here on nobody can write to the file or change its size, and the caller's mapping of its first
// `bytes` bytes is for reading.
int32_t weft_panels_seal(int32_t fd, void* memory, uint64_t bytes) {
  if (bytes > 0 && mprotect(memory, bytes, PROT_READ) != 0) return -errno;
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
  if (fcntl(fd, F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE) == 0) return 0;
  // Before Linux 5.1: others are trusted to map it for reading.
  return fcntl(fd, F_ADD_SEALS, seals) == 0 ? 0 : -errno;
}

// 1 when the file was sealed, else 0.
int32_t weft_panels_sealed(int32_t fd) {
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_GROW) != 0;
}
