// Memory shared between ranks: anonymous (it has no name that could go stale), mapped by the path of a
// descriptor of the process that made it, and freed by the kernel with its last mapping.
#define _GNU_SOURCE
#include "shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

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

static void futex_wait(_Atomic uint32_t* word, uint32_t seen, uint64_t timeout_ns) {
  struct timespec timeout = {(time_t)(timeout_ns / 1000000000ull), (long)(timeout_ns % 1000000000ull)};
  syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
}

// True when the event came while this thread spun.
static int spin(weft_event* event, uint32_t target, uint64_t deadline_ns, weft_waiter* waiter) {
  uint64_t end = weft_now_ns() + waiter->spin_ns;
  if (end > deadline_ns) end = deadline_ns;
  do {
    for (int i = 0; i < 32; i++) {
      if (weft_has_reached(event, target)) {
        waiter->spin_ns *= 2;
        if (waiter->spin_ns > waiter->max_spin_ns) waiter->spin_ns = waiter->max_spin_ns;
        return 1;
      }
      weft_pause();
    }
  } while (!weft_is_aborted(waiter->abort) && weft_now_ns() < end);
  if (waiter->spin_ns > waiter->max_spin_ns / 16) waiter->spin_ns /= 2;
  return 0;
}

int weft_wait(weft_event* event, uint32_t target, uint64_t deadline_ns, weft_waiter* waiter) {
  if (weft_has_reached(event, target)) return 0;
  if (waiter->spin_ns > 0 && spin(event, target, deadline_ns, waiter)) return 0;
  for (;;) {
    // Announced before the value is read: whoever changes it later sees a sleeper to wake, and a
    // change before the system call makes that return at once.
    __atomic_fetch_add(&event->sleepers, 1, __ATOMIC_SEQ_CST);
    uint32_t seen = __atomic_load_n(&event->value, __ATOMIC_SEQ_CST);
    int status = 0;
    int reached = (int32_t)(seen - target) >= 0;
    if (!reached) {
      uint64_t now = weft_now_ns();
      if (weft_is_aborted(waiter->abort)) {
        status = -ECANCELED;
      } else if (now >= deadline_ns) {
        status = -ETIMEDOUT;
      } else {
        uint64_t rest = deadline_ns - now;
        futex_wait(&event->value, seen, rest < WEFT_POLL_NS ? rest : WEFT_POLL_NS);
      }
    }
    __atomic_fetch_sub(&event->sleepers, 1, __ATOMIC_SEQ_CST);
    if (reached || status < 0) return status;
  }
}

void weft_wake(weft_event* event) {
  if (__atomic_load_n(&event->sleepers, __ATOMIC_SEQ_CST) > 0) {
    syscall(SYS_futex, &event->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
  }
}

void weft_post(weft_event* event, uint32_t value) {
  __atomic_store_n(&event->value, value, __ATOMIC_SEQ_CST);
  weft_wake(event);
}

// weft_wait with a timeout, for callers outside C.
int32_t weft_event_wait(weft_event* event, uint32_t target, uint64_t timeout_ns,
                        const weft_abort_flag* abort, uint64_t spin_ns) {
  uint64_t deadline = timeout_ns == 0 ? 0 : weft_now_ns() + timeout_ns;
  return weft_wait(event, target, deadline, &(weft_waiter){abort, spin_ns, spin_ns});
}

void weft_event_post(weft_event* event, uint32_t value) { weft_post(event, value); }

uint32_t weft_event_value(weft_event* event) {
  return __atomic_load_n(&event->value, __ATOMIC_ACQUIRE);
}

// Raises the flag for `rank` (-1: no rank). Returns 1, or 0 when it was already raised.
int32_t weft_abort_raise(weft_abort_flag* flag, int32_t rank, const char* text, uint32_t length) {
  uint32_t expected = WEFT_RUNNING;
  if (!__atomic_compare_exchange_n(&flag->state, &expected, WEFT_RAISING, 0, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    return 0;
  }
  if (length > WEFT_ABORT_TEXT) length = WEFT_ABORT_TEXT;
  memcpy(flag->text, text, length);
  flag->length = length;
  flag->rank = rank;
  __atomic_store_n(&flag->state, WEFT_ABORTED, __ATOMIC_RELEASE);
  return 1;
}

int32_t weft_abort_state(const weft_abort_flag* flag) {
  return (int32_t)__atomic_load_n(&flag->state, __ATOMIC_ACQUIRE);
}

// Copies the reason of a raised flag into `text` (WEFT_ABORT_TEXT bytes) and who raised it into
// `rank`. Returns the length; -EAGAIN when it isn't raised, or its writer died while writing.
int32_t weft_abort_reason(const weft_abort_flag* flag, char* text, int32_t* rank) {
  for (int tries = 0; tries < 1000; tries++) {
    uint32_t state = __atomic_load_n(&flag->state, __ATOMIC_ACQUIRE);
    if (state == WEFT_RUNNING) return -EAGAIN;
    if (state == WEFT_ABORTED) {
      uint32_t length = flag->length <= WEFT_ABORT_TEXT ? flag->length : WEFT_ABORT_TEXT;
      memcpy(text, flag->text, length);
      *rank = flag->rank;
      return (int32_t)length;
    }
    usleep(10);
  }
  return -EAGAIN;
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
