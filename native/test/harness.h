/* harness.h: building plan descriptions by hand, for the C tests. */
#ifndef CREDENCE_TEST_HARNESS_H
#define CREDENCE_TEST_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "credence_native.h"
#include "credence_ops.h"

enum { MAX_OPS = 32, MAX_TABLE = 256, MAX_SLOTS = 4, MAX_ARGS = 4 };

/* A description with room for its tables. Fill the tables through the functions below, then take desc_of. */
typedef struct recipe {
  credence_op ops[MAX_OPS];
  credence_tensor tensors[MAX_TABLE];
  credence_value i[MAX_TABLE];
  credence_scalar f[MAX_TABLE];
  int64_t iarg_min[MAX_ARGS], iarg_max[MAX_ARGS];
  uint64_t slot_bytes[MAX_SLOTS];
  uint32_t n_ops, n_tensors, n_i, n_f, n_slots, n_iargs, n_fargs;
} recipe;

static inline credence_plan_desc desc_of(const recipe *r) {
  return (credence_plan_desc){.struct_size = sizeof(credence_plan_desc),
                              .n_ops = r->n_ops,
                              .n_tensors = r->n_tensors,
                              .n_i = r->n_i,
                              .n_f = r->n_f,
                              .n_slots = r->n_slots,
                              .n_iargs = r->n_iargs,
                              .n_fargs = r->n_fargs,
                              .ops = r->ops,
                              .tensors = r->tensors,
                              .i = r->i,
                              .f = r->f,
                              .iarg_min = r->iarg_min,
                              .iarg_max = r->iarg_max,
                              .slot_bytes = r->slot_bytes};
}

static inline credence_value constant(int64_t v) { return (credence_value){v, -1, 0}; }
static inline credence_value times_arg(int64_t v, int32_t arg) { return (credence_value){v, arg, 0}; }

/* Starts an op; the tensors and attributes added next are its own. */
static inline credence_op *start_op(recipe *r, uint32_t opcode, uint32_t n_in, uint32_t n_out, uint32_t n_inout) {
  credence_op *op = &r->ops[r->n_ops++];
  *op = (credence_op){.opcode = opcode,
                      .n_in = n_in,
                      .n_out = n_out,
                      .n_inout = n_inout,
                      .first_tensor = r->n_tensors,
                      .first_i = r->n_i,
                      .first_f = r->n_f};
  return op;
}

/* A dense tensor of up to 3 dimensions; dims of -1 are absent. */
static inline credence_tensor *add_tensor(recipe *r, int32_t slot, int64_t base, int32_t dtype, int64_t d0, int64_t d1,
                                          int64_t d2) {
  const int64_t dims[3] = {d0, d1, d2};
  credence_tensor *t = &r->tensors[r->n_tensors++];
  *t = (credence_tensor){.slot = slot, .dtype = dtype, .base = base, .offset = constant(0)};
  while (t->ndim < 3 && dims[t->ndim] >= 0) {
    t->dim[t->ndim] = constant(dims[t->ndim]);
    t->ndim++;
  }
  int64_t step = dtype == CREDENCE_F64 || dtype == CREDENCE_I64    ? 8
                 : dtype == CREDENCE_F16 || dtype == CREDENCE_BF16 ? 2
                 : dtype == CREDENCE_U8                            ? 1
                                                                   : 4;
  for (int32_t k = t->ndim - 1; k >= 0; k--) {
    t->stride[k] = step;
    step *= dims[k] > 0 ? dims[k] : 1;
  }
  return t;
}

static inline void add_i(recipe *r, credence_value v) {
  r->i[r->n_i++] = v;
  r->ops[r->n_ops - 1].n_i++;
}

static inline void add_f(recipe *r, double v, int32_t arg) {
  r->f[r->n_f++] = (credence_scalar){v, arg, 0};
  r->ops[r->n_ops - 1].n_f++;
}

/* Op x -> y over n floats at two places of slot 0. */
static inline void add_map(recipe *r, uint32_t opcode, int64_t n, int64_t x, int64_t y) {
  start_op(r, opcode, 1, 1, 0);
  add_tensor(r, 0, x, CREDENCE_F32, n, -1, -1);
  add_tensor(r, 0, y, CREDENCE_F32, n, -1, -1);
}

static inline void add_fill(recipe *r, double value, int64_t n, int64_t at) {
  start_op(r, CREDENCE_OP_FILL, 0, 1, 0);
  add_tensor(r, 0, at, CREDENCE_F32, n, -1, -1);
  add_f(r, value, -1);
}

/* Numbers that are the same on every run: splitmix64. */
static inline uint64_t draw(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline int64_t draw_range(uint64_t *state, int64_t lo, int64_t hi) { /* lo..hi */
  return lo + (int64_t)(draw(state) % (uint64_t)(hi - lo + 1));
}

#endif
