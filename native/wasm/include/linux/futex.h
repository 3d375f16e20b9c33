// Waiting for a word of memory to change: WebAssembly's own instructions mean what Linux's do.
#ifndef WEFT_WASM_FUTEX_H
#define WEFT_WASM_FUTEX_H

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };

#endif
