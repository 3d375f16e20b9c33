// Weights in panels: 16 outputs side by side, all of K in order.
#ifndef WEFT_LINEAR_PANELS_H
#define WEFT_LINEAR_PANELS_H

#include <stdint.h>

// Outputs of a panel, and what a pair of k takes in it: 16 times two elements.
enum { PANEL_OUTPUTS = 16, PANEL_PAIR = 2 * PANEL_OUTPUTS };

// bf16 [ceil(out_features / 16)][blocks][block_pairs][16][2], 64-byte aligned: pairs of k beside each
// other, the operand of vdpbf16ps and tile B of the AMX. Outputs and k past the end are zero.
typedef struct {
  const uint16_t* data;
  int64_t blocks;
  int64_t block_pairs;
} weft_panels;

// Elements of a panel.
static inline int64_t weft_panel_size(const weft_panels* panels) {
  return panels->blocks * panels->block_pairs * PANEL_PAIR;
}

#endif
