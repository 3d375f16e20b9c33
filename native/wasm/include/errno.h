// Numbers of the failures that the sources return, as on Linux.
#ifndef WEFT_WASM_ERRNO_H
#define WEFT_WASM_ERRNO_H

enum { EAGAIN = 11, ENOMEM = 12, EINVAL = 22, EPROTO = 71, ETIMEDOUT = 110, ECANCELED = 125 };
// The functions here that could fail do so for want of memory only.
#define errno ENOMEM

#endif
