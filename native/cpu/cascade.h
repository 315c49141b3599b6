/* cascade.h: sums of many vectors in the order of a fixed binary tree. Leaves are pushed from left to right; two
 * finished subtrees of one height are joined at once, as a binary counter carries. The error grows with the logarithm
 * of the number of leaves, and a run of 2^k leaves that starts at a multiple of 2^k is a subtree: tasks may sum such
 * runs apart, and their results, pushed in order, give the same bits as one task. */
#ifndef CREDENCE_CPU_CASCADE_H
#define CREDENCE_CPU_CASCADE_H

#include <stdbool.h>

#include "vec.h"

typedef enum cr_join { CR_JOIN_SUM, CR_JOIN_MAX, CR_JOIN_MIN } cr_join;

static inline __attribute__((always_inline)) vf cr_joined(cr_join join, vf a, vf b) {
  switch (join) {
    case CR_JOIN_MAX:
      return vf_max(a, b);
    case CR_JOIN_MIN:
      return vf_min(a, b);
    default:
      return a + b;
  }
}

static inline float cr_neutral(cr_join join) {
  return join == CR_JOIN_MAX ? -INFINITY : join == CR_JOIN_MIN ? INFINITY : 0;
}

static inline float cr_lanes_joined(cr_join join, vf v) {
  return join == CR_JOIN_MAX ? vf_max_lane(v) : join == CR_JOIN_MIN ? vf_min_lane(v) : vf_sum(v);
}

typedef struct cr_cascade {
  uint64_t count; /* bit k: part[k] holds a subtree of 2^k leaves */
  vf part[48];
} cr_cascade;

static inline void cr_cascade_start(cr_cascade *c) { c->count = 0; } /* an initialiser would clear all of part */

static inline __attribute__((always_inline)) void cr_cascade_push(cr_cascade *c, cr_join join, vf v) {
  int32_t k = 0;
  for (uint64_t n = c->count; n & 1; n >>= 1) v = cr_joined(join, c->part[k++], v);
  c->part[k] = v;
  c->count++;
}

static inline __attribute__((always_inline)) vf cr_cascade_result(const cr_cascade *c, cr_join join) {
  vf v = vf_set(cr_neutral(join));
  bool first = true;
  int32_t k = 0;
  for (uint64_t n = c->count; n; n >>= 1, k++) {
    if (!(n & 1)) continue;
    v = first ? c->part[k] : cr_joined(join, c->part[k], v);
    first = false;
  }
  return v;
}

#endif
