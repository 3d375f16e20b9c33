// The monotonic clock: performance.now() of whoever made the instance.
#ifndef WEFT_WASM_TIME_H
#define WEFT_WASM_TIME_H

#include <stdint.h>

typedef int64_t time_t;
struct timespec {
  time_t tv_sec;
  long long tv_nsec;
};
enum { CLOCK_MONOTONIC = 1 };

__attribute__((import_module("weft"), import_name("milliseconds"))) double weft_milliseconds(void);

static inline int clock_gettime(int clock, struct timespec* time) {
  (void)clock;
  const double milliseconds = weft_milliseconds();
  const int64_t nanoseconds = (int64_t)(milliseconds * 1e6);
  time->tv_sec = nanoseconds / 1000000000;
  time->tv_nsec = nanoseconds % 1000000000;
  return 0;
}

#endif
