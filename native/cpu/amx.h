// The matrix instructions of x86: eight tiles of up to 16 rows of 64 bytes. The only file that has
// them, so that tests/amx_twin, the same functions in plain C, can stand in for it where the processor
// lacks them. Kernels that use it stand inside #ifdef WEFT_AMX.
//
// How it is used:
// - Once in a process, before any other: amx_request_permission().
// - In each piece of work: amx_configure(), then tiles, then amx_release(). Configuration and tiles
//   belong to the thread, and a kernel finds neither as another left them.
// - Tile numbers are compile-time constants from 0 to 7.
// - amx_configure() zeroes the tiles, but a tile is only read after amx_zero() or amx_load(): the
//   second tile of work would find what the first has left.
//
// Products: C (M x N) += A (M x K) B (K x N). A and C lie row by row; a row of B holds, for each n,
// adjacent k beside each other: two of bf16, four of bytes.
#ifndef WEFT_AMX_H
#define WEFT_AMX_H

// Clang before 16 spells them differently.
#if (defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)) || \
    (defined(__AMXTILE__) && defined(__AMXBF16__) && defined(__AMXINT8__))
#define WEFT_AMX 1

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX_INLINE static inline __attribute__((always_inline))

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

// Shapes of the tiles, as the instruction reads them; of a tile that isn't used both are zero.
typedef struct __attribute__((aligned(64))) {
  uint8_t palette;  // 1: tiles as above
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_shapes;

AMX_INLINE void amx_set_shape(amx_shapes* shapes, int tile, int rows, int row_bytes) {
  shapes->palette = 1;
  shapes->rows[tile] = (uint8_t)rows;
  shapes->row_bytes[tile] = (uint16_t)row_bytes;
}

// Asks the system to keep tiles for this process, those of its threads that run already included.
// Returns 0 or -errno.
static inline int amx_request_permission(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 ? 0 : -errno;
}

// What is read from memory is told to the compiler, or it drops the stores that come before: gcc 12's
// own intrinsics let it.
AMX_INLINE void amx_configure(const amx_shapes* shapes) {
  __asm__ volatile("ldtilecfg %0" : : "m"(*shapes));
}

AMX_INLINE void amx_release(void) { __asm__ volatile("tilerelease"); }

AMX_INLINE void amx_zero(const int tile) { __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile)); }

// Row i is loaded from base + i * stride bytes.
AMX_INLINE void amx_load(const int tile, const void* base, int64_t stride) {
  __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0"
                   : : "i"(tile), "r"(base), "r"(stride) : "memory");
}

// The same for what isn't read again soon.
AMX_INLINE void amx_load_once(const int tile, const void* base, int64_t stride) {
  __asm__ volatile("tileloaddt1 (%1,%2,1), %%tmm%c0"
                   : : "i"(tile), "r"(base), "r"(stride) : "memory");
}

AMX_INLINE void amx_store(const int tile, void* base, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)"
                   : : "i"(tile), "r"(base), "r"(stride) : "memory");
}

#define AMX_DOT(name, instruction)                                                     \
  AMX_INLINE void name(const int c, const int a, const int b) {                        \
    __asm__ volatile(instruction " %%tmm%c2, %%tmm%c1, %%tmm%c0"                       \
                     : : "i"(c), "i"(a), "i"(b));                                      \
  }
// Products of bf16, added in f32: those of even k in order, those of odd k in order, each beginning
// with 0, then the two sums, then c. Rounds to nearest; subnormal numbers are zero.
AMX_DOT(amx_dot_bf16, "tdpbf16ps")
// Products of bytes, added in int32 without saturation; names give the signs of a and b.
AMX_DOT(amx_dot_s8s8, "tdpbssd")
AMX_DOT(amx_dot_s8u8, "tdpbsud")
AMX_DOT(amx_dot_u8s8, "tdpbusd")
#undef AMX_DOT

#endif
#endif
