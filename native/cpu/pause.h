// A pause in a loop that waits for another thread: the core's other thread gets its units, and power
// is saved.
#ifndef WEFT_PAUSE_H
#define WEFT_PAUSE_H

static inline void weft_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  // "yield" does nothing on most cores; this waits for the pipeline to drain, about as long as x86's.
  __asm__ volatile("isb" : : : "memory");
#endif
}

#endif
