/* random.c: counter-based random numbers, Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011). Key: the seed. Counter: (column / 4, row low, row high, stream); word c mod 4 of the block
 * makes column c. A vector computes CR_W blocks at a time, one per lane. */
#include "cr.h"
#include "isa.h"
#include "vmath.h"

enum { TASK_ELEMENTS = 16384 };

typedef enum kind { BITS, UNIFORM, NORMAL } kind;

typedef uint64_t vq __attribute__((vector_size(CR_W * 4)));

static inline vu vu_set(uint32_t x) { return x - (vu){0}; }

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- the generator ---- */

#define PHILOX_ROUNDS 10
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

/* The even lanes' 64-bit products. */
static inline vq multiply_even(vu a, uint32_t m) {
#if CR_W == 16
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)vu_set(m));
#elif CR_W == 8
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)vu_set(m));
#elif defined(__SSE2__)
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)vu_set(m));
#else
  return ((vq)a & 0xffffffffu) * m;
#endif
}

static inline void multiply(vu a, uint32_t m, vu *high, vu *low) {
  const vq even = multiply_even(a, m), odd = multiply_even((vu)((vq)a >> 32), m);
  *high = (vu)((even >> 32) | (odd & 0xffffffff00000000u));
  *low = (vu)((even & 0xffffffffu) | (odd << 32));
}

static inline void philox(vu word[4], uint64_t key) {
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < PHILOX_ROUNDS; round++, k0 += PHILOX_W0, k1 += PHILOX_W1) {
    vu high0, low0, high1, low1;
    multiply(word[0], PHILOX_M0, &high0, &low0);
    multiply(word[2], PHILOX_M1, &high1, &low1);
    word[0] = high1 ^ word[1] ^ vu_set(k0);
    word[1] = low1;
    word[2] = high0 ^ word[3] ^ vu_set(k1);
    word[3] = low0;
  }
}

/* Exchanges words and blocks within each group of four lanes. With the blocks in the lanes that LANE_BLOCKS says, the
 * four vectors then hold blocks 0, 1, 2 ... one after the other. */
#if CR_W == 16
#define ZIP_LOW 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define ZIP_HIGH 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define PAIR_LOW 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define PAIR_HIGH 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LANE_BLOCKS 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15
#elif CR_W == 8
#define ZIP_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define ZIP_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#define PAIR_LOW 0, 1, 8, 9, 4, 5, 12, 13
#define PAIR_HIGH 2, 3, 10, 11, 6, 7, 14, 15
#define LANE_BLOCKS 0, 2, 4, 6, 1, 3, 5, 7
#else
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#define PAIR_LOW 0, 1, 4, 5
#define PAIR_HIGH 2, 3, 6, 7
#define LANE_BLOCKS 0, 1, 2, 3
#endif

static inline void transpose(vf v[4]) {
  const vf a = __builtin_shufflevector(v[0], v[1], ZIP_LOW), b = __builtin_shufflevector(v[0], v[1], ZIP_HIGH);
  const vf c = __builtin_shufflevector(v[2], v[3], ZIP_LOW), d = __builtin_shufflevector(v[2], v[3], ZIP_HIGH);
  v[0] = __builtin_shufflevector(a, c, PAIR_LOW);
  v[1] = __builtin_shufflevector(a, c, PAIR_HIGH);
  v[2] = __builtin_shufflevector(b, d, PAIR_LOW);
  v[3] = __builtin_shufflevector(b, d, PAIR_HIGH);
}

/* ---- distributions ---- */

/* Cosine and sine of w / 2^32 turns, taken apart in integers into quarter turns and a rest of at most an eighth: both
 * keep their relative precision near 0. The polynomials are near-minimax fits of sin(pi t / 2) / t and cos(pi t / 2).
 */
static inline void turn(vu w, vf *cosine, vf *sine) {
  const vu quarter = (w + vu_set(1u << 29)) >> 30;
  const vf t = __builtin_convertvector((vi)(w - (quarter << 30)), vf) * vf_set(0x1p-30f), z = t * t;
  vf s = vf_fma(z, vf_set(-0x1.2d9b4p-8f), vf_set(0x1.465ec4p-4f));
  s = vf_fma(z, s, vf_set(-0x1.4abbbap-1f));
  s = vf_fma(z, s, vf_set(-0x1.a1114ap-25f)); /* what pi / 2 has beyond float32 */
  s = vf_fma(t, s, t * vf_set(0x1.921fb6p+0f));
  vf c = vf_fma(z, vf_set(0x1.db6492p-11f), vf_set(-0x1.55cb98p-6f));
  c = vf_fma(z, c, vf_set(0x1.03c1eap-2f));
  c = vf_fma(z, c, vf_set(-0x1.3bd3ccp+0f));
  c = vf_fma(z, c, vf_set(1));
  const vi odd = -(vi)(quarter & 1);
  *cosine = (vf)((vu)vf_select(odd, s, c) ^ (((quarter + 1) & 2) << 30));
  *sine = (vf)((vu)vf_select(odd, c, s) ^ ((quarter & 2) << 30));
}

/* sqrt(-2 log((w + 1) / 2^32)). From 1/2 up the logarithm is that of 1 - x with x exact; vf_log1p_unit is odd in
 * z / (2 + z), which for z = -x stays in the range it was made for. */
static inline vf radius(vu w) {
  const vi upper = (vi)w < 0;
  const vu n = (w ^ (vu)upper) + (vu_set(1) & ~(vu)upper);
  const vf x = vf_abs(__builtin_convertvector((vi)n, vf)) * vf_set(0x1p-32f); /* n is at most 2^31 */
  return vf_sqrt(vf_set(-2) * vf_select(upper, vf_log1p_unit(-x), vf_log(x)));
}

typedef struct random_job {
  char *y;
  int64_t rows, cols, rows_per_task, cols_per_task, slabs;
  uint64_t seed, row0;
  uint32_t stream;
  float a, b, top; /* uniform: lo, hi - lo, the largest result; normal: mean, deviation */
} random_job;

/* Turns words into results, still one block per lane. */
static inline void finish(kind of, const random_job *j, vu word[4], vf y[4]) {
  for (int k = 0; k < 4; k++) y[k] = (vf)word[k];
  if (of == UNIFORM) {
    for (int k = 0; k < 4; k++) {
      const vf u = __builtin_convertvector((vi)(word[k] >> 8), vf) * vf_set(0x1p-24f);
      y[k] = vf_at_most(vf_fma(u, vf_set(j->b), vf_set(j->a)), j->top);
    }
  } else if (of == NORMAL) {
    for (int k = 0; k < 4; k += 2) {
      vf r = radius(word[k]), c, s;
      turn(word[k + 1], &c, &s);
      y[k] = vf_fma(r * c, vf_set(j->b), vf_set(j->a));
      y[k + 1] = vf_fma(r * s, vf_set(j->b), vf_set(j->a));
    }
  }
  transpose(y);
}

/* ---- rows ---- */

static inline void wide_task(kind of, const random_job *job, int64_t index) {
  const random_job j = *job;
  const int64_t first = index / j.slabs * j.rows_per_task, last = smaller(first + j.rows_per_task, j.rows);
  const int64_t left = index % j.slabs * j.cols_per_task, right = smaller(left + j.cols_per_task, j.cols);
  for (int64_t r = first; r < last; r++) {
    const uint64_t row = j.row0 + (uint64_t)r;
    float *y = (float *)(void *)j.y + r * j.cols;
    for (int64_t c = left; c < right; c += 4 * CR_W) {
      vu word[4] = {vu_set((uint32_t)(c / 4)) + (vu){LANE_BLOCKS}, vu_set((uint32_t)row), vu_set((uint32_t)(row >> 32)),
                    vu_set(j.stream)};
      vf v[4];
      philox(word, j.seed);
      finish(of, &j, word, v);
      for (int k = 0; k < 4; k++) {
        const int64_t n = right - c - k * CR_W;
        if (n >= CR_W)
          vf_store(y + c + k * CR_W, v[k]);
        else if (n > 0)
          vf_store_n(y + c + k * CR_W, v[k], n);
      }
    }
  }
}

/* Rows of few blocks: the lanes take the blocks of several rows. */
static inline void narrow_task(kind of, const random_job *job, int64_t index) {
  const random_job j = *job;
  const int64_t first = index * j.rows_per_task, last = smaller(first + j.rows_per_task, j.rows);
  const int64_t row_blocks = blocks_of(j.cols, 4), blocks = (last - first) * row_blocks;
  float *y = (float *)(void *)j.y + first * j.cols, *const end = (float *)(void *)j.y + last * j.cols;
  int64_t r = first, b = 0;
  for (int64_t done = 0; done < blocks; done += CR_W) {
    uint32_t counter[4][CR_W];
    int64_t width[CR_W];
    const int64_t n = smaller(CR_W, blocks - done);
    for (int64_t k = 0; k < CR_W; k++) {
      const int64_t lane = k % (CR_W / 4) * 4 + k / (CR_W / 4); /* LANE_BLOCKS the other way round */
      const uint64_t row = j.row0 + (uint64_t)r;
      counter[0][lane] = (uint32_t)b;
      counter[1][lane] = (uint32_t)row;
      counter[2][lane] = (uint32_t)(row >> 32);
      counter[3][lane] = j.stream;
      width[k] = smaller(4, j.cols - 4 * b);
      if (++b == row_blocks) b = 0, r++;
    }
    vu word[4];
    memcpy(word, counter, sizeof word);
    vf v[4];
    philox(word, j.seed);
    finish(of, &j, word, v);
    float out[4 * CR_W];
    memcpy(out, v, sizeof out);
    /* whole blocks where there is room: what a row has too much, the next row overwrites */
    for (int64_t k = 0; k < n; y += width[k++]) {
      if (end - y >= 4)
        memcpy(y, out + 4 * k, 16);
      else
        memcpy(y, out + 4 * k, (size_t)width[k] * 4);
    }
  }
}

static inline void random_task(kind of, const random_job *job, int64_t index) {
  if (job->cols >= 2 * CR_W)
    wide_task(of, job, index);
  else
    narrow_task(of, job, index);
}

static int32_t bits_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  random_task(BITS, arg, index);
  return CREDENCE_OK;
}

static int32_t uniform_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  random_task(UNIFORM, arg, index);
  return CREDENCE_OK;
}

static int32_t normal_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  random_task(NORMAL, arg, index);
  return CREDENCE_OK;
}

/* ---- the ops ---- */

static int32_t run_random(const cr_call *call, const cr_ctx *ctx, const char *op, cr_task_fn task, random_job job,
                          credence_error *err) {
  if (call->i[1] < 0 || call->i[1] > UINT32_MAX)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: stream %lld is outside 0 to %lld", op, (long long)call->i[1],
                   (long long)UINT32_MAX);
  const cr_tensor *y = &call->out[0];
  job.y = y->data;
  job.rows = y->dim[0];
  job.cols = y->dim[1];
  if (job.rows * job.cols == 0) return CREDENCE_OK;
  job.seed = (uint64_t)call->i[0];
  job.stream = (uint32_t)call->i[1];
  job.row0 = (uint64_t)call->i[2];
  job.rows_per_task = blocks_of(TASK_ELEMENTS, job.cols);
  job.cols_per_task = job.cols < 2 * TASK_ELEMENTS ? job.cols : TASK_ELEMENTS;
  job.slabs = blocks_of(job.cols, job.cols_per_task);
  return cr_spread(ctx, 4 * job.rows * job.cols, blocks_of(job.rows, job.rows_per_task) * job.slabs, task, &job, err);
}

static int32_t run_bits(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_random(call, ctx, "random_bits", bits_task, (random_job){0}, err);
}

static int32_t run_uniform(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const double lo = call->f[0], hi = call->f[1];
  const float top = lo < hi ? nextafterf((float)hi, (float)lo) : INFINITY;
  return run_random(call, ctx, "random_uniform", uniform_task,
                    (random_job){.a = (float)lo, .b = (float)(hi - lo), .top = top}, err);
}

static int32_t run_normal(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_random(call, ctx, "random_normal", normal_task,
                    (random_job){.a = (float)call->f[0], .b = (float)call->f[1]}, err);
}

CR_FAMILY(random, {CREDENCE_OP_RANDOM_BITS, .run = run_bits}, {CREDENCE_OP_RANDOM_UNIFORM, .run = run_uniform},
          {CREDENCE_OP_RANDOM_NORMAL, .run = run_normal})
