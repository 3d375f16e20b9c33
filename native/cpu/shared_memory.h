// Waiting, waking and aborting in memory that several threads or processes map.
//
// Every wait ends when its event has arrived, at its deadline, or soon after the abort flag was raised.
// A sleeper looks at the flag every WEFT_POLL_NS, so that raising it needs no list of sleepers and a
// rank that died between raising and waking does no harm.
#ifndef WEFT_SHARED_MEMORY_H
#define WEFT_SHARED_MEMORY_H

#include <stdint.h>
#include <time.h>

enum { WEFT_LINE = 64, WEFT_ABORT_TEXT = 4080 };

#define WEFT_POLL_NS 50000000ull

// A number that only grows (modulo 2^32), alone in its cache line, on which others wait.
typedef struct {
  uint32_t value;
  uint32_t sleepers;
  uint8_t padding[WEFT_LINE - 8];
} weft_event;

// Why a group ended. The first to raise the flag writes the reason; a page, at the start of a region.
typedef struct {
  uint32_t state;  // WEFT_RUNNING, then WEFT_RAISING while the text is written, then WEFT_ABORTED
  int32_t rank;            // who raised it; -1 when no rank did
  uint32_t length;
  uint32_t padding;
  char text[WEFT_ABORT_TEXT];
} weft_abort_flag;

enum { WEFT_RUNNING = 0, WEFT_RAISING = 1, WEFT_ABORTED = 2 };

// How a rank waits: what ends it early, and how long it spins before it sleeps (0: not at all). A spin
// that was in vain halves the next, down to a sixteenth, and one that was not doubles it again: who spins
// while the peer has no core to run on keeps it from running.
typedef struct {
  const weft_abort_flag* abort;
  uint64_t max_spin_ns;
  uint64_t spin_ns;
} weft_waiter;

static inline uint64_t weft_now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static inline int weft_is_aborted(const weft_abort_flag* flag) {
  return __atomic_load_n(&flag->state, __ATOMIC_ACQUIRE) != WEFT_RUNNING;
}

static inline int weft_has_reached(weft_event* event, uint32_t target) {
  return (int32_t)(__atomic_load_n(&event->value, __ATOMIC_ACQUIRE) - target) >= 0;
}

// Returns 0 once the event has reached `target`, -ETIMEDOUT at the deadline, -ECANCELED when aborted.
int weft_wait(weft_event* event, uint32_t target, uint64_t deadline_ns, weft_waiter* waiter);

// Wakes those who sleep on the event; after its value was changed with sequential consistency.
void weft_wake(weft_event* event);

// Sets the event's value, with everything written before, and wakes those who sleep on it.
void weft_post(weft_event* event, uint32_t value);

#endif
