// Memory shared between ranks: anonymous (it has no name that could go stale), mapped by the path of a
// descriptor of the process that made it, and freed by the kernel with its last mapping. And what a
// process that is a rank asks of the system.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// A new region of `byte_length` zeros, of which only the pages that are touched take memory.
// Returns a file descriptor or -errno.
int32_t weft_shared_create(const char* name, uint64_t byte_length) {
  int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)byte_length) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

// Opens another process's region by path. Returns a file descriptor or -errno.
int32_t weft_shared_open(const char* path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int32_t weft_shared_close(int32_t fd) { return close(fd) < 0 ? -errno : 0; }

// Maps a region whose size must be `byte_length`. Returns the address or -errno.
int64_t weft_shared_map(int32_t fd, uint64_t byte_length) {
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  if ((uint64_t)status.st_size != byte_length) return -EINVAL;
  void* address =
      mmap(NULL, byte_length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  return address == MAP_FAILED ? -errno : (int64_t)(uintptr_t)address;
}

int32_t weft_shared_unmap(void* address, uint64_t byte_length) {
  return munmap(address, byte_length) < 0 ? -errno : 0;
}

static void* exit_at_end_of_file(void* argument) {
  int fd = (int)(intptr_t)argument;
  char byte;
  for (;;) {
    ssize_t count = read(fd, &byte, 1);
    if (count == 0 || (count < 0 && errno != EINTR)) _exit(1);
  }
}

// Ends this process as soon as `fd`, a pipe whose other end the parent holds, is closed: also when the
// parent was killed and while this process's own event loop is blocked. Returns 0 or -errno.
int32_t weft_exit_with_parent(int32_t fd) {
  pthread_t thread;
  int error = pthread_create(&thread, NULL, exit_at_end_of_file, (void*)(intptr_t)fd);
  if (error != 0) return -error;
  pthread_detach(thread);
  return 0;
}

// Leaves Ctrl-C, which a terminal sends to every process of the foreground group, to the parent.
void weft_ignore_interrupt(void) { signal(SIGINT, SIG_IGN); }
