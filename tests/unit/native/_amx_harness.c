// amx.h behind an FFI face: one product of one tile each, and what faults.
#include <string.h>

#include "amx.h"

enum { C = 0, A = 1, B = 2 };
enum { BF16, S8S8, S8U8, U8S8 };

// c (rows x columns) += a (rows x depth groups of 4 bytes) b (depth x columns); strides in bytes.
void harness_product(int kind, int rows, int columns, int depth, float* c, const void* a,
                     const void* b, int64_t c_stride, int64_t a_stride, int64_t b_stride) {
  amx_shapes shapes = {0};
  amx_set_shape(&shapes, C, rows, columns * 4);
  amx_set_shape(&shapes, A, rows, depth * 4);
  amx_set_shape(&shapes, B, depth, columns * 4);
  amx_configure(&shapes);
  amx_load(C, c, c_stride);
  amx_load(A, a, a_stride);
  amx_load_once(B, b, b_stride);
  switch (kind) {
    case BF16: amx_dot_bf16(C, A, B); break;
    case S8S8: amx_dot_s8s8(C, A, B); break;
    case S8U8: amx_dot_s8u8(C, A, B); break;
    default: amx_dot_u8s8(C, A, B);
  }
  amx_store(C, c, c_stride);
  amx_release();
}

int harness_permission(void) { return amx_request_permission(); }

#ifdef WEFT_HARNESS_FAULTS
typedef struct {
  int palette, reserved, unaligned, operation;
  int rows[3], row_bytes[3], used[3];
} attempt;

static void try(const void* argument) {
  const attempt* t = argument;
  _Alignas(64) uint8_t memory[2048] = {0};
  amx_shapes shapes = {0};
  for (int i = 0; i < 3; i++) amx_set_shape(&shapes, i, t->rows[i], t->row_bytes[i]);
  shapes.palette = (uint8_t)t->palette;
  shapes.reserved[5] = (uint8_t)t->reserved;
  memcpy(memory + t->unaligned, &shapes, sizeof(shapes));
  amx_configure((const amx_shapes*)(memory + t->unaligned));
  for (int i = 0; i < 3; i++) {
    if (t->used[i]) amx_zero(i);
  }
  switch (t->operation) {
    case 0: amx_dot_bf16(C, A, B); break;
    case 1: amx_dot_bf16(C, A, A); break;
    case 2: amx_store(C, memory, 64); break;
    case 3: amx_zero(3); break;
    default: break;
  }
}

const char* harness_fault(const int32_t* numbers) {
  attempt t;
  memcpy(&t, numbers, sizeof(t));
  const char* what = amx_catch(try, &t);
  amx_release();
  return what;
}
#endif
