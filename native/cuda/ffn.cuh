/* ffn.cuh: the steps of a sparse feed-forward block, which ffn.cu puts together. All that a step needs to know of the
 * ones before it lies in device memory: nothing waits for the host.
 *
 * A neuron is needed if its value is not 0 in some row of x: a bit of the mask. A step reads the rows of needed
 * neurons, or, if those are more than limit F, all rows. What it sums does not depend on that: a product is one sum of
 * its own (dots.cuh), and a column of the last step adds up all neurons in an order given by F alone, in which a term
 * of 0 changes nothing. */
#ifndef CREDENCE_CUDA_FFN_CUH
#define CREDENCE_CUDA_FFN_CUH

#include "dots.cuh"

/* What is needed, of `neurons`. */
typedef struct cu_needed {
  const uint32_t *mask; /* or NULL: for the values themselves, which are few */
  const float *values;  /* [rows, neurons] */
  int64_t rows, neurons;
  cu_scalar_value limit;
} cu_needed;

enum { CU_NEEDED_DIRECT = 16384 }; /* values that each block may look through by itself */

static inline int64_t cu_mask_words(int64_t neurons) { return cu_blocks(neurons, CU_WARP); }

/* ---- ffn_select.cu ---- */
enum { CU_SELECT_ALL = 0, CU_SELECT_TOP_K = 1, CU_SELECT_CUTOFF = 2 };
typedef struct cu_select {
  float *values;  /* [rows, neurons]: for CU_SELECT_TOP_K after the activation, for CU_SELECT_CUTOFF before it */
  uint32_t *mask; /* of one row, or NULL */
  int64_t rows, neurons, k;
  int32_t select, act;
  cu_scalar_value p, z;
} cu_select;
int32_t cu_select_run(const cr_ctx *ctx, const cu_select *job, credence_error *err);

/* The mask of values [rows, neurons]; and, unless it is NULL, the values in groups of eight rows, a neuron's side by
 * side: [group][neuron][8], 0 beyond the rows. Either may be NULL. */
int32_t cu_mark_run(const cr_ctx *ctx, const float *values, int64_t rows, int64_t neurons, uint32_t *mask,
                    float *grouped, credence_error *err);

/* ---- ffn_up.cu: y = s (x w' + bias) where s is not 0, else 0; or s act(x w' + bias) ---- */
typedef struct cu_up {
  cu_needed needed;
  const float *x; /* [rows, d] */
  const char *w;  /* [neurons, d] */
  int32_t dtype, act;
  const float *bias; /* [neurons], or NULL */
  const float *s;    /* [rows, neurons] */
  float *y;          /* may be s: then it holds the zeros already */
  int64_t d;
  cu_scalar_value p;
  int32_t *read;  /* rows of w that are read */
  int32_t *dense; /* or NULL: whether that is all of them because of the limit */
} cu_up;
int32_t cu_up_run(const cr_ctx *ctx, const cu_up *job, credence_error *err);

/* ---- ffn_down.cu: y = h w + bias ---- */
typedef struct cu_down {
  cu_needed needed;
  const float *h; /* [rows, neurons] */
  const char *w;  /* [neurons, d] */
  int32_t dtype;
  const float *bias; /* [d], or NULL */
  float *y;          /* [rows, d] */
  int64_t d;
  float *grouped;           /* scratch: cu_down_scratch bytes */
  const int32_t *dense;     /* or NULL: what an earlier step decided, instead of the limit */
  int32_t *read, *not_read; /* rows of w that are read; or NULL, else becomes 0 */
  int32_t *count;           /* or NULL: [rows], values that are not 0 */
} cu_down;
size_t cu_down_scratch(int64_t rows, int64_t neurons);
int32_t cu_down_run(const cr_ctx *ctx, const cu_down *job, credence_error *err);

#endif
