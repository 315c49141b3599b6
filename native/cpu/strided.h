/* strided.h: walking several tensors of one shape together, whatever their strides. */
#ifndef CREDENCE_CPU_STRIDED_H
#define CREDENCE_CPU_STRIDED_H

#include "cr.h"

#define CR_NEST_TENSORS 3

/* Axes innermost first; those of size 1 are dropped and neighbours that all tensors step through alike are one. */
typedef struct cr_nest {
  int32_t axes; /* at least 1 */
  int64_t dim[CREDENCE_MAX_DIMS];
  int64_t step[CR_NEST_TENSORS][CREDENCE_MAX_DIMS]; /* bytes */
} cr_nest;

/* Makes the nest of n tensors that have the shape of t[0]; returns the number of elements. */
static inline int64_t cr_nest_make(cr_nest *nest, const cr_tensor *const *t, int32_t n) {
  int64_t total = 1;
  nest->axes = 0;
  for (int32_t k = t[0]->ndim - 1; k >= 0; k--) {
    int64_t d = t[0]->dim[k];
    total *= d;
    if (d == 1) continue;
    int32_t last = nest->axes - 1;
    bool joined = last >= 0;
    for (int32_t j = 0; j < n && joined; j++) joined = t[j]->stride[k] == nest->step[j][last] * nest->dim[last];
    if (joined) {
      nest->dim[last] *= d;
      continue;
    }
    nest->dim[nest->axes] = d;
    for (int32_t j = 0; j < n; j++) nest->step[j][nest->axes] = t[j]->stride[k];
    nest->axes++;
  }
  if (nest->axes == 0) {
    nest->axes = 1;
    nest->dim[0] = total;
    for (int32_t j = 0; j < n; j++) nest->step[j][0] = (int64_t)cr_dtype_size(t[j]->dtype);
  }
  return total;
}

/* Whether tensor j lies without gaps in the nest's order. */
static inline bool cr_nest_linear(const cr_nest *nest, int32_t j, int64_t size) {
  for (int32_t k = 0; k < nest->axes; k++) {
    if (nest->step[j][k] != size) return false;
    size *= nest->dim[k];
  }
  return true;
}

/* After how many elements tensor j repeats; the total if it does not. */
static inline int64_t cr_nest_period(const cr_nest *nest, int32_t j) {
  int64_t n = 1, period = 1;
  for (int32_t k = 0; k < nest->axes; k++) {
    n *= nest->dim[k];
    if (nest->step[j][k] != 0) period = n;
  }
  return period;
}

/* A place in the nest. */
typedef struct cr_nest_at {
  int64_t index[CREDENCE_MAX_DIMS], offset[CR_NEST_TENSORS]; /* offset in bytes */
} cr_nest_at;

static inline void cr_nest_seek(const cr_nest *nest, int32_t n, int64_t element, cr_nest_at *at) {
  for (int32_t j = 0; j < n; j++) at->offset[j] = 0;
  for (int32_t k = 0; k < nest->axes; k++) {
    at->index[k] = element % nest->dim[k];
    element /= nest->dim[k];
    for (int32_t j = 0; j < n; j++) at->offset[j] += at->index[k] * nest->step[j][k];
  }
}

/* Goes count elements on along the innermost axis, not beyond its end, where the next row begins. */
static inline void cr_nest_advance(const cr_nest *nest, int32_t n, int64_t count, cr_nest_at *at) {
  at->index[0] += count;
  for (int32_t j = 0; j < n; j++) at->offset[j] += count * nest->step[j][0];
  for (int32_t k = 0; at->index[k] == nest->dim[k] && k + 1 < nest->axes; k++) {
    for (int32_t j = 0; j < n; j++) at->offset[j] += nest->step[j][k + 1] - nest->dim[k] * nest->step[j][k];
    at->index[k] = 0;
    at->index[k + 1]++;
  }
}

#endif
