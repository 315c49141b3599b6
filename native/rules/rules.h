/* rules.h: one rule per op, cr_rule_NAME, in the file of its family; call.h says what a rule proves. And what rules
 * share with each other and with the kernels of the backends. C and C++. */
#ifndef CREDENCE_RULES_RULES_H
#define CREDENCE_RULES_RULES_H

#include <math.h>

#include "call.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CREDENCE_OP(number, NAME, name) int32_t cr_rule_##name(const cr_call *call, credence_error *err);
CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP

/* Values of attributes, beside those of credence_native.h. */
enum { CR_SELECT_ALL = 0, CR_SELECT_TOP_K = 1, CR_SELECT_CUTOFF = 2 }; /* sparse_ffn */
enum { CR_ROTARY_PAIRS = 1 };                                          /* neighbours are turned together */
enum { CR_MATCH_SUPPORTS = 29 };                                       /* what an op's 64 tensors leave room for */
enum { CR_NUMBERED_ROWS = INT32_MAX - 64 }; /* most rows that an i32 names: kernels may count to the end of a tile */

/* The activation exists, and its parameter is in its range. */
static inline bool cr_act_valid(int64_t kind, double p) {
  return kind >= CREDENCE_ACT_NONE && kind <= CREDENCE_ACT_RELU_SQUARED && fabs(p) <= 3.402823466e38 &&
         !(kind == CREDENCE_ACT_FATRELU && p < 0);
}

/* Types of weights that stay as they are stored. */
static inline bool cr_is_stored(int32_t dtype) {
  return dtype == CREDENCE_F32 || dtype == CREDENCE_F16 || dtype == CREDENCE_BF16 || dtype == CREDENCE_Q8_0 ||
         dtype == CREDENCE_Q4_0;
}

/* Every elementwise op: float32 tensors of one shape, any strides. */
int32_t cr_expect_elementwise(const cr_call *call, const char *op, uint32_t n_in, uint32_t n_i, uint32_t n_f,
                              credence_error *err);

/* The part of matmul's rule that sizes decide. */
int32_t cr_matmul_fits(const cr_call *call, credence_error *err);

/* x [b,h,w,c], weights [r,s,c,f], y [b,p,q,f]; y[p,q] reads x[p sh + r - top, q sw + s - left]. */
typedef struct cr_conv {
  int64_t b, h, w, c, p, q, f, r, s, sh, sw, top, left;
  const float *x, *weights, *y; /* those that are inputs */
  const float *bias;            /* NULL: none */
  float *out;
  int64_t act;
  float act_p;
} cr_conv;

typedef enum cr_conv_op { CR_CONV_FORWARD, CR_CONV_GRAD_INPUT, CR_CONV_GRAD_WEIGHT } cr_conv_op;

/* Reads a call, and proves that its sizes fit together. */
int32_t cr_conv_describe(const cr_call *call, cr_conv_op op, cr_conv *c, credence_error *err);

#ifdef __cplusplus
}
#endif
#endif
