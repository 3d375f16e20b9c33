// Read-only file mappings. Failures are returned as -errno, so that no second call has to ask.
#define _GNU_SOURCE  // strerror_r that returns its text
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mapped_pages.h"

// Maps the regular file `path`; returns its address and stores its size, or returns -errno.
int64_t weft_map_file(const char* path, uint64_t* byte_length) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer before we can refuse it.
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return -errno;
  int64_t result;
  struct stat status;
  if (fstat(file, &status) != 0) {
    result = -errno;
  } else if (S_ISDIR(status.st_mode)) {
    result = -EISDIR;
  } else if (!S_ISREG(status.st_mode)) {
    result = -EINVAL;
  } else if (status.st_size == 0) {
    result = -ENODATA;
  } else {
    void* address = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
    result = address == MAP_FAILED ? -errno : (int64_t)(intptr_t)address;
    *byte_length = (uint64_t)status.st_size;
  }
  close(file);
  return result;
}

// Unmaps what weft_map_file returned; 0 or -errno.
int32_t weft_unmap_file(uint64_t address, uint64_t byte_length) {
  return munmap((void*)(uintptr_t)address, (size_t)byte_length) == 0 ? 0 : -errno;
}

// Gives all pages of a mapping back; they are read from the file again when they are touched.
void weft_release_file(uint64_t address, uint64_t byte_length) {
  const char* begin = (const char*)(uintptr_t)address;
  weft_give_back(begin, begin + byte_length);
}

// Writes the message of an errno as a C string.
void weft_errno_message(int32_t number, char* message, uint64_t byte_length) {
  // The GNU strerror_r may return a constant instead of filling the buffer.
  char buffer[128];
  const char* text = strerror_r(number, buffer, sizeof buffer);
  strncpy(message, text, (size_t)byte_length - 1);
  message[byte_length - 1] = '\0';
}
