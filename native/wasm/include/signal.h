// Threads of WebAssembly get no signals.
#ifndef WEFT_WASM_SIGNAL_H
#define WEFT_WASM_SIGNAL_H

typedef int sigset_t;
enum { SIG_SETMASK = 2 };
static inline int sigfillset(sigset_t* set) {
  *set = -1;
  return 0;
}

#endif
