// Stands in for native/cpu/amx.h: the same names in plain C, for processors without AMX. A call that
// would fault there, or read a tile that was neither zeroed nor loaded, ends in amx_fault().
#ifndef WEFT_AMX_H
#define WEFT_AMX_H

#define WEFT_AMX 1

#include <stdint.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct __attribute__((aligned(64))) {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_shapes;

static inline void amx_set_shape(amx_shapes* shapes, int tile, int rows, int row_bytes) {
  shapes->palette = 1;
  shapes->rows[tile] = (uint8_t)rows;
  shapes->row_bytes[tile] = (uint16_t)row_bytes;
}

int amx_request_permission(void);
void amx_configure(const amx_shapes* shapes);
void amx_release(void);
void amx_zero(int tile);
void amx_load(int tile, const void* base, int64_t stride);
void amx_load_once(int tile, const void* base, int64_t stride);
void amx_store(int tile, void* base, int64_t stride);
void amx_dot_bf16(int c, int a, int b);
void amx_dot_s8s8(int c, int a, int b);
void amx_dot_s8u8(int c, int a, int b);
void amx_dot_u8s8(int c, int a, int b);

// Calls `body` and returns NULL, or what the fault was that ended it.
const char* amx_catch(void (*body)(const void*), const void* argument);

#endif
