// Waiting, waking and aborting in shared memory (shared_memory.h).
#define _GNU_SOURCE
#include "shared_memory.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

static void futex_wait(uint32_t* word, uint32_t seen, uint64_t timeout_ns) {
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
