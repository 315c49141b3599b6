/* Every op of a backend on random shapes, layouts and values, in memory of exactly the size it may touch (run it under
 * AddressSanitizer) and on one thread and on three, whose results must be the same bytes and leave none unwritten. What
 * is computed is checked against the references elsewhere; here: memory, threads, and descriptions that do not fit. On
 * an emulated GPU the second device runs its threads in another order.
 *
 *   ops_test LIBRARY [rounds] [seed] [opcode]
 *
 * A line of the table below is an op's signature: tensors as dimension letters, inputs > outputs > in place, separated
 * by commas. A prefix says what is in a tensor: i: an i32 output; b: bytes; A: an i32 input of indices below dimension
 * A. */
#include <ctype.h>
#include <dlfcn.h>
#include <math.h>

#include "harness.h"

typedef struct signature {
  uint32_t opcode;
  const char *tensors;
  const char *ints; /* one letter per integer: 0..9 as it is, t 0 or 1, a activation, s a step, a dimension's letter */
  uint32_t n_f;
} signature;

#define UNARY(NAME, n_f) \
  { CREDENCE_OP_##NAME, "ABC>ABC", "", n_f }
#define BINARY(NAME) \
  { CREDENCE_OP_##NAME, "ABC,ABC>ABC", "", 0 }
#define REDUCE(NAME)                                                                \
  {CREDENCE_OP_##NAME, "ABC>1BC", "1", 0}, {CREDENCE_OP_##NAME, "ABC>AB1", "4", 0}, \
      {CREDENCE_OP_##NAME, "ABC>1B1", "5", 0}, {                                    \
    CREDENCE_OP_##NAME, "ABC>111", "7", 0                                           \
  }

static const signature signatures[] = {
    {CREDENCE_OP_FILL, ">ABC", "", 1},
    {CREDENCE_OP_COPY, "ABC>ABC", "", 0},
    {CREDENCE_OP_GATHER_ROWS, "VD,V:N>ND", "", 0},
    {CREDENCE_OP_SCATTER_ADD_ROWS, "ND,V:N>>VD", "", 0},
    {CREDENCE_OP_RESIZE_BILINEAR, "BHWC>BPQC", "", 0},
    {CREDENCE_OP_RESIZE_BILINEAR_GRAD, "BPQC>BHWC", "", 0},
    UNARY(NEG, 0),
    UNARY(ABS, 0),
    UNARY(EXP, 0),
    UNARY(LOG, 0),
    UNARY(SQRT, 0),
    UNARY(RSQRT, 0),
    UNARY(SQUARE, 0),
    UNARY(RECIPROCAL, 0),
    UNARY(AFFINE, 2),
    UNARY(CLAMP, 2),
    UNARY(SIGN, 0),
    {CREDENCE_OP_CLAMP_GRAD, "ABC,ABC>ABC", "", 2},
    {CREDENCE_OP_ACTIVATION, "ABC>ABC", "a", 1},
    {CREDENCE_OP_ACTIVATION_GRAD, "ABC,ABC>ABC", "a", 1},
    {CREDENCE_OP_ACTIVATION_GRAD_FROM_OUTPUT, "ABC,ABC>ABC", "a", 1},
    BINARY(ADD),
    BINARY(SUB),
    BINARY(MUL),
    BINARY(DIV),
    BINARY(MAXIMUM),
    BINARY(MINIMUM),
    BINARY(GREATER_EQUAL),
    BINARY(EQUAL),
    REDUCE(REDUCE_SUM),
    REDUCE(REDUCE_MEAN),
    REDUCE(REDUCE_MAX),
    REDUCE(REDUCE_MIN),
    REDUCE(REDUCE_SUM_SQUARES),
    {CREDENCE_OP_ARG_MAX, "RN>i:R", "", 0},
    {CREDENCE_OP_ARG_MIN, "RN>i:R", "", 0},
    {CREDENCE_OP_SOFTMAX, "RN>RN", "", 0},
    {CREDENCE_OP_SOFTMAX_GRAD, "RN,RN>RN", "", 0},
    {CREDENCE_OP_LOG_SOFTMAX, "RN>RN", "", 0},
    {CREDENCE_OP_LOG_SOFTMAX_GRAD, "RN,RN>RN", "", 0},
    {CREDENCE_OP_LOG_SUM_EXP, "RN>R", "", 0},
    {CREDENCE_OP_CROSS_ENTROPY, "RN,N:R>R", "", 0},
    {CREDENCE_OP_CROSS_ENTROPY_GRAD, "RN,N:R,R>RN", "", 0},
    {CREDENCE_OP_MATMUL, "MK,KN>MN", "00a", 2},
    {CREDENCE_OP_MATMUL, "KM,KN,N>MN", "10a", 2},
    {CREDENCE_OP_MATMUL, "MK,NK,N>MN", "01a", 2},
    {CREDENCE_OP_MATMUL, "BKM,BNK>BMN", "11a", 2},
    {CREDENCE_OP_MATMUL, "ABMK,ABKN,N>ABMN", "00a", 2},
    {CREDENCE_OP_CONV2D, "BHWC,RSCF>BPQF", "ssppa", 1},
    {CREDENCE_OP_CONV2D, "BHWC,RSCF,F>BPQF", "ssppa", 1},
    {CREDENCE_OP_CONV2D_GRAD_INPUT, "BPQF,RSCF>BHWC", "ssppa", 1},
    {CREDENCE_OP_CONV2D_GRAD_INPUT, "BPQF,RSCF,C>BHWC", "ssppa", 1},
    {CREDENCE_OP_CONV2D_GRAD_WEIGHT, "BHWC,BPQF>RSCF", "sspp0", 1},
    {CREDENCE_OP_BATCH_NORM_TRAIN, "RC,C,C>RC,C,C", "a", 2},
    {CREDENCE_OP_BATCH_NORM_GRAD, "RC,C,C,C,C,RC>RC,C,C", "a", 2},
    {CREDENCE_OP_BATCH_NORM_EVAL, "RC,C,C,C,C>RC", "a", 2},
    {CREDENCE_OP_RMS_NORM, "RC,C>RC", "", 1},
    {CREDENCE_OP_RMS_NORM_GRAD, "RC,C,RC>RC,C", "", 1},
    {CREDENCE_OP_LAYER_NORM, "RC,C,C>RC", "", 1},
    {CREDENCE_OP_LAYER_NORM_GRAD, "RC,C,RC>RC,C,C", "", 1},
    {CREDENCE_OP_PAIRWISE_SQDIST, "ND,MD>NM", "", 0},
    {CREDENCE_OP_PAIRWISE_ARG_MIN, "ND,MD>N,i:N", "", 0},
    {CREDENCE_OP_PAIRWISE_COUNT, "ND,MD,N>i:N", "", 0},
    {CREDENCE_OP_MATCH, "ND,A:N,M:N,MD,A:M>i:N,N,i:N", "5", 0},
    {CREDENCE_OP_MATCH, "ND,A:N,M:N,MD,A:M,LD,A:L>i:N,N,i:N", "2", 0},
    {CREDENCE_OP_MATCH_CODES, "MD,D>b:MD,M2", "", 0},
    {CREDENCE_OP_MATCH_CODED, "ND,A:N,M:N,MD,A:M,D,b:MD,M2>i:N,N,i:N", "2", 0},
    {CREDENCE_OP_CHOLESKY, "BDD>BDD", "", 0},
    {CREDENCE_OP_CHOLESKY_GRAD, "BDD,BDD>BDD", "", 0},
    {CREDENCE_OP_TRI_MATMUL, "BDD,BND>BND", "t", 0},
    {CREDENCE_OP_TRI_SOLVE, "BDD,BND>BND", "t", 0},
    {CREDENCE_OP_TRI_LOG_DET, "BDD>B", "", 0},
    {CREDENCE_OP_TRI_LOG_DET_GRAD, "BDD,B>BDD", "", 0},
    {CREDENCE_OP_TRIL, "BDD>BDD", "", 0},
    {CREDENCE_OP_TRIL_SOFTPLUS, "BDD>BDD", "", 1},
    {CREDENCE_OP_TRIL_SOFTPLUS_GRAD, "BDD,BDD>BDD", "", 0},
    {CREDENCE_OP_RANDOM_BITS, ">i:RN", "777", 0},
    {CREDENCE_OP_RANDOM_UNIFORM, ">RN", "777", 2},
    {CREDENCE_OP_RANDOM_NORMAL, ">RN", "777", 2},
    {CREDENCE_OP_TOP_K, "RN>RK,i:RK", "K", 0},
    {CREDENCE_OP_TOP_K_GRAD, "RK,N:RK>RN", "N", 0},
    {CREDENCE_OP_ADAM, "A,1>>A,A,A", "3t", 5},
    {CREDENCE_OP_LERP, "A>>A", "", 1},
    {CREDENCE_OP_CLIP_SCALE, "A>1,1", "", 1},
    {CREDENCE_OP_AXPY, "A>>A", "", 1},
    {CREDENCE_OP_LINEAR, "MK,NK>MN", "", 0},
    {CREDENCE_OP_LINEAR, "MK,NK,N>MN", "", 0},
    {CREDENCE_OP_ROTARY, "THD>THD", "7t2", 2},
    {CREDENCE_OP_ROTARY, "THD,1>THD", "7t2", 2},
    {CREDENCE_OP_WRITE_ROWS, "TAB>>TAB", "0", 0},
    {CREDENCE_OP_ATTENTION, "THD,T1D,T1D>THD", "0", 1},
    {CREDENCE_OP_ATTENTION, "THD,THD,THD>THD", "0", 1},
    {CREDENCE_OP_SPARSE_FFN, "BD,FD,FD>BD,BF,i:B,i:2", "a0t3", 3},
    {CREDENCE_OP_SPARSE_FFN, "BD,FD,FD,F,D>BD,BF,i:B,i:2", "a029", 3},
    {CREDENCE_OP_SPARSE_FFN_GATED, "BD,FD,FD,FD>BD,BF,i:B,i:2", "at03", 3},
    {CREDENCE_OP_SPARSE_FFN_GATED, "BD,FD,FD,FD,F,F,D>BD,BF,i:B,i:2", "att3", 3},
    {CREDENCE_OP_MASKED_LINEAR, "BD,FD,BF>BF,i:1", "", 1},
    {CREDENCE_OP_SPARSE_LINEAR, "BF,FD>BD,i:1", "", 1},
    {CREDENCE_OP_SPARSE_LINEAR, "BF,FD,D>BD,i:1", "", 1},
};

enum { SIGNATURES = sizeof signatures / sizeof *signatures, MOST = 11, DEVICES = 2, ROOM = 1 << 22 };

static const credence_backend *b;
static credence_device *device[DEVICES];
static credence_stream *stream[DEVICES];
static credence_error err;
static uint64_t seed = 1, tag;

typedef struct trial {
  credence_op op;
  credence_tensor t[MOST];
  credence_value i[8];
  credence_scalar f[8];
  int64_t arg_min, arg_max;
  uint64_t bytes[MOST]; /* each tensor has a slot of its own */
  int64_t below[MOST];  /* indices lie below it; 0: numbers */
} trial;

static int64_t size_of(int32_t dtype) {
  static const int64_t sizes[] = {0, 4, 8, 2, 2, 4, 8, 1, 34, 18};
  return sizes[dtype];
}

/* Random dimensions that go together: mostly small, sometimes none, sometimes enough for several threads. */
static void draw_dims(int64_t dim[128], const signature *s, int64_t ints[8]) {
  const bool large = draw(&seed) % 12 == 0;
  for (int c = 'A'; c <= 'Z'; c++) {
    const uint64_t kind = draw(&seed) % 40;
    dim[c] = kind == 0 ? 0 : kind < 5 ? 1 : kind < 8 ? draw_range(&seed, 30, 40) : draw_range(&seed, 2, 9);
  }
  if (large) dim[(int)s->tensors[strspn(s->tensors, ">1")]] = draw_range(&seed, 500, 3000);
  dim['1'] = 1, dim['2'] = 2;
  dim['2'] = 2;
  if (s->opcode == CREDENCE_OP_TOP_K || s->opcode == CREDENCE_OP_TOP_K_GRAD)
    dim['K'] = dim['N'] == 0 ? 0 : draw_range(&seed, dim['N'] > 0, dim['N']);
  for (int k = 0; s->ints[k] != '\0'; k++) {
    const char c = s->ints[k];
    ints[k] = c == 't'   ? draw_range(&seed, 0, 1)
              : c == 'a' ? draw_range(&seed, 0, 10)
              : c == 's' ? draw_range(&seed, 1, 3)
              : c == 'p' ? draw_range(&seed, 0, 2)
              : c >= 'A' ? dim[(int)c]
                         : c - '0';
  }
  if (s->ints[0] != 's') return;
  dim['R'] = draw_range(&seed, 1, 4);
  dim['S'] = draw_range(&seed, 1, 4);
  dim['H'] = draw_range(&seed, 1, 9);
  dim['W'] = draw_range(&seed, 1, 9);
  const int64_t p = (dim['H'] + 2 * ints[2] - dim['R']) / ints[0] + 1,
                q = (dim['W'] + 2 * ints[3] - dim['S']) / ints[1] + 1;
  dim['P'] = p < 1 ? 1 : p;
  dim['Q'] = q < 1 ? 1 : q;
}

/* Which tensors may hold narrower numbers than float32: a bit mask. */
static uint32_t narrow_tensors(uint32_t opcode) {
  switch (opcode) {
    case CREDENCE_OP_GATHER_ROWS:
      return 1;
    case CREDENCE_OP_MATMUL:
    case CREDENCE_OP_LINEAR:
    case CREDENCE_OP_WRITE_ROWS:
    case CREDENCE_OP_MASKED_LINEAR:
    case CREDENCE_OP_SPARSE_LINEAR:
      return 2;
    case CREDENCE_OP_ATTENTION:
    case CREDENCE_OP_SPARSE_FFN:
      return 6;
    case CREDENCE_OP_SPARSE_FFN_GATED:
      return 14;
    default:
      return 0;
  }
}

static bool takes_blocks(uint32_t opcode) { return opcode == CREDENCE_OP_GATHER_ROWS || opcode == CREDENCE_OP_LINEAR; }

/* The letter of tensor k's innermost dimension. */
static char innermost(const char *tensors, uint32_t k) {
  for (; k > 0; tensors++) k -= *tensors == ',' || *tensors == '>';
  while (*tensors == '>') tensors++;
  tensors += strcspn(tensors, ",>");
  return tensors[-1];
}

/* Lays a tensor out: dense, or perhaps with gaps between rows, repeating, or with axes swapped. */
static void lay_out(credence_tensor *t, bool dense, bool written) {
  int64_t step = size_of(t->dtype);
  const uint64_t kind = dense ? 3 : draw(&seed) % 6;
  const int32_t gap_at = t->ndim > 1 ? (int32_t)draw_range(&seed, 0, t->ndim - 2) : -1;
  for (int32_t k = t->ndim - 1; k >= 0; k--) {
    int64_t dim = t->dim[k].value > 0 ? t->dim[k].value : 1;
    if (k == t->ndim - 1 && t->dtype >= CREDENCE_Q8_0) {
      step = dim / 32 * size_of(t->dtype);
      continue;
    }
    if (kind == 0 && k == gap_at) step += 3 * size_of(t->dtype);
    t->stride[k] = step;
    step *= dim;
  }
  if (kind == 1 && !written && t->ndim > 0 && t->dtype < CREDENCE_Q8_0)
    t->stride[draw_range(&seed, 0, t->ndim - 1)] = 0;
  if (kind == 2 && t->ndim > 1 && t->dtype < CREDENCE_Q8_0) { /* two axes swapped in memory */
    const int32_t a = t->ndim - 1, c = (int32_t)draw_range(&seed, 0, t->ndim - 2);
    int64_t at = size_of(t->dtype);
    for (int32_t k = t->ndim - 1; k >= 0; k--) {
      const int32_t axis = k == a ? c : k == c ? a : k;
      t->stride[axis] = at;
      at *= t->dim[axis].value > 0 ? t->dim[axis].value : 1;
    }
  }
}

/* Bytes that the tensor reaches, so that its slot can be just as large. */
static uint64_t reach(const credence_tensor *t, int64_t arg_max) {
  int64_t bytes = size_of(t->dtype);
  for (int32_t k = 0; k < t->ndim; k++) {
    const int64_t dim = t->dim[k].arg < 0 ? t->dim[k].value : t->dim[k].value * arg_max;
    if (dim <= 0) return 0;
    if (k == t->ndim - 1 && t->dtype >= CREDENCE_Q8_0)
      bytes += (dim / 32 - 1) * size_of(t->dtype);
    else
      bytes += (dim - 1) * t->stride[k];
  }
  return (uint64_t)bytes;
}

/* Makes a call of the signature; false if its data would be too large to be quick. */
static bool draw_trial(const signature *s, trial *t) {
  int64_t dim[128] = {0}, ints[8] = {0};
  uint32_t *counts[] = {&t->op.n_in, &t->op.n_out, &t->op.n_inout}, group = 0, n = 0;
  memset(t, 0, sizeof *t);
  draw_dims(dim, s, ints);
  t->op.opcode = s->opcode;
  t->arg_max = 1;
  const int vary = draw(&seed) % 3 == 0 ? (int)draw_range(&seed, 'A', 'Z') : 0; /* this dimension is an argument */
  if (vary != 0) t->arg_max = dim[vary];
  for (const char *p = s->tensors; *p != '\0';) {
    if (*p == '>' || *p == ',') {
      group += *p++ == '>';
      continue;
    }
    credence_tensor *x = &t->t[n];
    x->slot = (int32_t)n;
    x->dtype = CREDENCE_F32;
    x->offset = constant(0);
    if (p[1] == ':') {
      x->dtype = *p == 'b' ? CREDENCE_U8 : CREDENCE_I32;
      if (isupper((unsigned char)*p)) t->below[n] = dim[(int)*p] > 0 ? dim[(int)*p] : 1;
      p += 2;
    }
    for (; isalnum((unsigned char)*p); p++) {
      x->dim[x->ndim++] = *p == vary ? times_arg(1, 0) : constant(dim[(int)*p]);
      x->dim[x->ndim - 1].value = *p == vary ? 1 : dim[(int)*p];
    }
    ++*counts[group];
    n++;
  }
  if (s->opcode == CREDENCE_OP_COPY) {
    t->t[0].dtype = (int32_t)draw_range(&seed, CREDENCE_F32, CREDENCE_Q4_0);
    t->t[1].dtype = (int32_t)draw_range(&seed, CREDENCE_F32, CREDENCE_U8);
  } else {
    static const int32_t narrow[] = {CREDENCE_F16, CREDENCE_BF16, CREDENCE_Q8_0, CREDENCE_Q4_0};
    for (uint32_t k = 0; k < n; k++)
      if ((narrow_tensors(s->opcode) >> k & 1) != 0 && draw(&seed) % 2 == 0)
        t->t[k].dtype = narrow[draw(&seed) % (takes_blocks(s->opcode) ? 4 : 2)];
  }
  for (uint32_t k = 0; k < n; k++) {
    if (t->t[k].dtype < CREDENCE_Q8_0) continue; /* whole blocks, wherever its innermost dimension is one */
    const char inner = innermost(s->tensors, k);
    const credence_value blocks = constant(32 * draw_range(&seed, 1, 3));
    for (uint32_t j = 0; j < n; j++)
      if (innermost(s->tensors, j) == inner) t->t[j].dim[t->t[j].ndim - 1] = blocks;
  }
  const bool dense = draw(&seed) % 2 == 0;
  for (uint32_t k = 0; k < n; k++) {
    credence_tensor largest = t->t[k];
    for (int32_t d = 0; d < largest.ndim; d++)
      if (largest.dim[d].arg >= 0) largest.dim[d] = constant(largest.dim[d].value * t->arg_max);
    lay_out(&largest, dense, k >= t->op.n_in);
    memcpy(t->t[k].stride, largest.stride, sizeof largest.stride);
  }
  t->op.n_i = (uint32_t)strlen(s->ints);
  for (uint32_t k = 0; k < t->op.n_i; k++) t->i[k] = constant(ints[k]);
  t->op.n_f = s->n_f;
  for (uint32_t k = 0; k < s->n_f; k++)
    t->f[k] = (credence_scalar){(double)draw_range(&seed, 1, 9) / 10 + k / 100.0, -1, 0};
  if (draw(&seed) % 4 == 0) { /* something does not fit */
    credence_tensor *x = &t->t[draw(&seed) % n];
    const uint64_t what = draw(&seed) % 7;
    if (what == 0 && x->ndim > 0) x->dim[draw_range(&seed, 0, x->ndim - 1)].value += draw_range(&seed, -1, 1);
    if (what == 1) x->dtype = (int32_t)draw_range(&seed, 1, 9);
    if (what == 2) x->ndim = (int32_t)draw_range(&seed, 0, 5);
    if (what == 3 && t->op.n_i > 0) t->i[draw(&seed) % t->op.n_i].value += draw_range(&seed, -3, 9);
    if (what == 4 && t->op.n_f > 0) t->f[draw(&seed) % t->op.n_f].value = draw(&seed) % 2 ? -1 : NAN;
    if (what == 5) t->op.n_in -= t->op.n_in > 0;
    if (what == 6) x->stride[draw_range(&seed, 0, 4)] += 4 * draw_range(&seed, -2, 2);
  }
  uint64_t all = 0;
  for (uint32_t k = 0; k < n; k++) all += t->bytes[k] = reach(&t->t[k], t->arg_max);
  return all < ROOM;
}

/* distinct: as many indices in a row as fit are different. */
static void fill_input(char *at, const credence_tensor *t, uint64_t bytes, int64_t below, bool distinct) {
  const bool odd = draw(&seed) % 16 == 0;
  static const float special[] = {0, -0.0f, NAN, INFINITY, -INFINITY, 1e-40f, 3e38f, -3e38f};
  memset(at, 0, bytes);
  for (uint64_t k = 0; k + 4 <= bytes; k += 4) {
    float v = (float)draw_range(&seed, -3000, 3000) / 1000;
    if (odd && draw(&seed) % 8 == 0) v = special[draw(&seed) % 8];
    int32_t index = (int32_t)draw_range(&seed, 0, below > 0 ? below - 1 : 100);
    if (distinct && below > 0) index = (int32_t)((int64_t)k / 4 % below);
    if (odd && draw(&seed) % 64 == 0) index = draw(&seed) % 2 ? -1 : (int32_t)draw(&seed);
    memcpy(at + k, t->dtype == CREDENCE_I32 ? (void *)&index : (void *)&v, 4);
  }
}

/* Makes matrices positive definite. */
static void raise_diagonal(char *at, const credence_tensor *t, int64_t arg_max) {
  int64_t dim[3];
  for (int k = 0; k < 3; k++) dim[k] = t->dim[k].arg < 0 ? t->dim[k].value : t->dim[k].value * arg_max;
  for (int64_t i = 0; i < dim[0]; i++)
    for (int64_t j = 0; j < dim[1] && j < dim[2]; j++)
      memcpy(at + i * t->stride[0] + j * (t->stride[1] + t->stride[2]), &(float){1000}, 4);
}

/* Runs the trial on both devices; returns the status, or -1 if there was nothing to compare. */
static int32_t run(const trial *t, const char *name) {
  const uint32_t n = t->op.n_in + t->op.n_out + t->op.n_inout;
  const credence_plan_desc desc = {.struct_size = sizeof desc,
                                   .n_ops = 1,
                                   .n_tensors = n,
                                   .n_i = t->op.n_i,
                                   .n_f = t->op.n_f,
                                   .n_slots = MOST,
                                   .n_iargs = 1,
                                   .ops = &t->op,
                                   .tensors = t->t,
                                   .i = t->i,
                                   .f = t->f,
                                   .iarg_min = &t->arg_min,
                                   .iarg_max = &t->arg_max,
                                   .slot_bytes = t->bytes};
  credence_plan *plan[DEVICES] = {NULL};
  int32_t opened[DEVICES];
  for (int d = 0; d < DEVICES; d++) {
    opened[d] = b->plan_open(device[d], &desc, &plan[d], &err);
    CHECK((opened[d] == CREDENCE_OK) == (plan[d] != NULL));
    CHECK(opened[d] == CREDENCE_OK || (err.code == opened[d] && strstr(err.msg, name) != NULL) ||
          strstr(err.msg, "plan: ") == err.msg);
  }
  CHECK(opened[0] == opened[1]);
  if (opened[0] != CREDENCE_OK || opened[1] != CREDENCE_OK) {
    for (int d = 0; d < DEVICES; d++) b->plan_close(plan[d]);
    return -1;
  }
  credence_slot slots[DEVICES][MOST];
  for (uint32_t k = 0; k < MOST; k++) {
    char *values = malloc(t->bytes[k] + 1);
    const uint64_t before = seed;
    for (int d = 0; d < DEVICES; d++) {
      credence_slot *slot = &slots[d][k];
      CHECK_STATUS(b->buffer_alloc(device[d], t->bytes[k], 0, &slot->buffer, &err), CREDENCE_OK, &err);
      slot->offset = 0;
      slot->size = t->bytes[k];
      memset(values, d == 0 ? 0xa5 : 0x5a, t->bytes[k]); /* outputs start as different garbage */
      seed = before;
      if (k < t->op.n_in || k >= t->op.n_in + t->op.n_out)
        fill_input(values, &t->t[k < n ? k : 0], t->bytes[k], t->below[k], t->op.opcode == CREDENCE_OP_TOP_K_GRAD);
      if (k == 0 && t->op.opcode == CREDENCE_OP_CHOLESKY && t->t[0].ndim == 3)
        raise_diagonal(values, &t->t[0], t->arg_max);
      CHECK_STATUS(b->buffer_write(NULL, slot->buffer, 0, values, t->bytes[k], &err), CREDENCE_OK, &err);
    }
    free(values);
  }
  int32_t status = CREDENCE_OK;
  for (int turn = 0; turn < 3 && status == CREDENCE_OK; turn++) {
    const int64_t arg = turn == 0 ? t->arg_max : draw_range(&seed, 0, t->arg_max);
    credence_error errors[DEVICES];
    int32_t got[DEVICES];
    tag++;
    for (int d = 0; d < DEVICES; d++) {
      got[d] = b->stream_submit(stream[d], plan[d], tag, slots[d], MOST, &arg, 1, NULL, 0, &errors[d]);
      if (got[d] == CREDENCE_OK) got[d] = b->stream_sync(stream[d], &errors[d]);
    }
    status = got[0];
    CHECK(got[0] == got[1] && (status == CREDENCE_OK || strcmp(errors[0].msg, errors[1].msg) == 0));
    CHECK(status == CREDENCE_OK || status == CREDENCE_INVALID_ARGUMENT);
    CHECK(status == CREDENCE_OK || strstr(errors[0].msg, name) != NULL);
    if (turn > 0) continue; /* elements beyond the argument keep the first turn's values */
    for (uint32_t k = t->op.n_in; k < n && status == CREDENCE_OK; k++) {
      const credence_tensor *y = &t->t[k];
      char *values[DEVICES];
      for (int d = 0; d < DEVICES; d++) {
        values[d] = malloc(t->bytes[k] + 1);
        CHECK_STATUS(b->buffer_read(NULL, values[d], slots[d][k].buffer, 0, t->bytes[k], &err), CREDENCE_OK, &err);
      }
      bool dense = true; /* gaps keep their garbage */
      int64_t step = size_of(y->dtype);
      for (int32_t a = y->ndim - 1; a >= 0; a--) {
        const int64_t dim = y->dim[a].arg < 0 ? y->dim[a].value : y->dim[a].value * t->arg_max;
        dense = dense && (dim == 1 || y->stride[a] == step);
        step *= dim;
      }
      const bool same = !dense || memcmp(values[0], values[1], t->bytes[k]) == 0;
      CHECK(same);
      if (!same)
        fprintf(stderr, "%s: output %u differs between 1 and 3 threads, or is not written\n", name, k - t->op.n_in);
      for (int d = 0; d < DEVICES; d++) free(values[d]);
    }
  }
  for (int d = 0; d < DEVICES; d++) {
    for (uint32_t k = 0; k < MOST; k++) b->buffer_free(slots[d][k].buffer);
    b->plan_close(plan[d]);
  }
  return status;
}

static const char *name_of(uint32_t opcode) {
  switch (opcode) {
#define CREDENCE_OP(number, NAME, name) \
  case number:                          \
    return #name;
    CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const credence_backend *(*entry)(void) = NULL;
  if (library != NULL) *(void **)&entry = dlsym(library, "credence_backend_entry");
  if (entry == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const int rounds = argc > 2 ? atoi(argv[2]) : 100;
  if (argc > 3) seed = strtoull(argv[3], NULL, 10);
  const uint32_t only = argc > 4 ? (uint32_t)atoi(argv[4]) : 0;
  b = entry();
  for (int d = 0; d < DEVICES; d++) {
    CHECK_STATUS(b->device_open(0, d == 0 ? 1 : 3, &device[d], &err), CREDENCE_OK, &err);
    setenv("CREDENCE_EMULATOR_ORDER", d == 0 ? "forward" : "shuffle:7", 1); /* a GPU's threads: emulator/README.md */
    CHECK_STATUS(b->stream_open(device[d], &stream[d], &err), CREDENCE_OK, &err);
  }
  bool known[CREDENCE_OP_LIMIT] = {false};
  for (int s = 0; s < SIGNATURES; s++) {
    const signature *sig = &signatures[s];
    const char *name = name_of(sig->opcode);
    known[sig->opcode] = true;
    if (only != 0 && only != sig->opcode) continue;
    int ran = 0, refused = 0, failed = 0;
    for (int round = 0; round < rounds; round++) {
      trial t;
      if (!draw_trial(sig, &t)) continue;
      const int32_t status = run(&t, name);
      ran += status == CREDENCE_OK;
      failed += status > 0;
      refused += status < 0;
    }
    printf("%-28s %-22s %4d ran, %4d refused, %4d failed\n", name, sig->tensors, ran, refused, failed);
    const bool enough = ran * 4 >= rounds || rounds < 40; /* of a few all may be bad luck */
    if (!enough) fprintf(stderr, "%s %s: too few trials ran to prove anything: %s\n", name, sig->tensors, err.msg);
    CHECK(enough);
  }
#define CREDENCE_OP(number, NAME, name)                                                          \
  if (!known[number]) fprintf(stderr, "%s has no signature in native/test/ops_test.c\n", #name); \
  CHECK(known[number]);
  CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP
  for (int d = 0; d < DEVICES; d++) {
    b->stream_close(stream[d]);
    b->device_close(device[d]);
  }
  return report("ops_test");
}
