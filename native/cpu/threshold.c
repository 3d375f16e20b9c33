// The logits at which min-p, top-k and top-p cut. The search for the latter two settles 8 bits of the
// threshold's ordered key a round, from histograms of integers that may be sums over ranks
// (NUMERICS.md 9).
#include <math.h>

#include "ordered_key.h"

enum { COUNT = 1, BINS = 256, LAST_ROUND = 3 };

// thresholds[t] = the row's maximum + offsets[t]. An offset of -inf lets all in, whatever the maximum.
void weft_min_p_thresholds(float* thresholds, const float* stats, const double* offsets,
                           int32_t rows) {
  for (int64_t row = 0; row < rows; row++) {
    const double offset = offsets[row];
    thresholds[row] = offset == -INFINITY ? -INFINITY : (float)(stats[2 * row] + offset);
  }
}

// The count or mass that is to be reached: asking for more tokens than take part keeps them all.
static double target_of(const double* bins, int32_t kind, double share) {
  double total = 0;
  for (int bin = 0; bin < BINS; bin++) total += bins[bin];
  if (kind != COUNT) return share * total;
  return share < total ? share : total;
}

// Opens, in each row with a share, the bin of histogram [rows][256] in which the target is reached.
void weft_narrow_thresholds(float* thresholds, const double* histogram, int32_t rows, int32_t round,
                            int32_t kind, const double* shares, uint32_t* prefixes, double* targets,
                            double* above) {
  for (int64_t row = 0; row < rows; row++) {
    if (shares[row] == 0) continue;
    const double* bins = histogram + row * BINS;
    if (round == 0) {
      prefixes[row] = 0;
      above[row] = 0;
      targets[row] = target_of(bins, kind, shares[row]);
    }
    int bin = BINS - 1;
    while (bin > 0 && above[row] + bins[bin] < targets[row]) above[row] += bins[bin--];
    prefixes[row] |= (uint32_t)bin << (24 - 8 * round);
    if (round < LAST_ROUND) continue;
    const float cut = from_ordered_key(prefixes[row]);
    if (cut > thresholds[row]) thresholds[row] = cut;
  }
}
