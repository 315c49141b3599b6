/* random.cu: counter-based random numbers, Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011). Key: the seed. Counter: (column / 4, row low, row high, stream); word c mod 4 of the block
 * makes column c. A thread makes one block at a time. */
#include "math.cuh"
#include "strided.cuh"

namespace {

enum kind { BITS, UNIFORM, NORMAL };

/* ---- the generator ---- */

constexpr int kRounds = 10;
constexpr uint32_t kM0 = 0xD2511F53u, kM1 = 0xCD9E8D57u, kW0 = 0x9E3779B9u, kW1 = 0xBB67AE85u;

__device__ __forceinline__ void philox(uint32_t (&word)[4], uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < kRounds; round++, k0 += kW0, k1 += kW1) {
    const uint32_t high0 = __umulhi(word[0], kM0), low0 = word[0] * kM0;
    const uint32_t high1 = __umulhi(word[2], kM1), low1 = word[2] * kM1;
    word[0] = high1 ^ word[1] ^ k0;
    word[1] = low1;
    word[2] = high0 ^ word[3] ^ k1;
    word[3] = low0;
  }
}

/* ---- distributions ---- */

/* Cosine and sine of w / 2^32 turns, taken apart in integers into quarter turns and a rest of at most an eighth: both
 * keep their relative precision near 0. The polynomials are near-minimax fits of sin(pi t / 2) / t and cos(pi t / 2),
 * those of cpu/random.c. */
__device__ __forceinline__ void turn(uint32_t w, float *cosine, float *sine) {
  const uint32_t quarter = (w + (1u << 29)) >> 30;
  const float t = static_cast<float>(static_cast<int32_t>(w - (quarter << 30))) * 0x1p-30f, z = t * t;
  float s = fmaf(z, -0x1.2d9b4p-8f, 0x1.465ec4p-4f);
  s = fmaf(z, s, -0x1.4abbbap-1f);
  s = fmaf(z, s, -0x1.a1114ap-25f); /* what pi / 2 has beyond float32 */
  s = fmaf(t, s, t * 0x1.921fb6p+0f);
  float c = fmaf(z, 0x1.db6492p-11f, -0x1.55cb98p-6f);
  c = fmaf(z, c, 0x1.03c1eap-2f);
  c = fmaf(z, c, -0x1.3bd3ccp+0f);
  c = fmaf(z, c, 1);
  const bool odd = quarter & 1;
  *cosine = __uint_as_float(__float_as_uint(odd ? s : c) ^ ((quarter + 1) & 2) << 30);
  *sine = __uint_as_float(__float_as_uint(odd ? c : s) ^ (quarter & 2) << 30);
}

/* sqrt(-2 log((w + 1) / 2^32)). From 1/2 up the logarithm is that of 1 - x with x exact; cu_log1p_unit is odd in
 * z / (2 + z), which for z = -x stays in the range it was made for. */
__device__ __forceinline__ float radius(uint32_t w) {
  const bool upper = w >> 31;
  const float x = static_cast<float>(upper ? ~w : w + 1) * 0x1p-32f;
  return sqrtf(-2 * (upper ? cu_log1p_unit(-x) : cu_log(x)));
}

struct work {
  char *y;
  int64_t columns, total;
  cu_nest<2> nest; /* index: block of its row, row */
  bool groups;
  cu_integer_value seed, stream, row0;
  cu_scalar_value a, b; /* uniform: lo, hi; normal: mean, deviation */
  cu_fault *fault;
  uint32_t op;
};

template <kind OF>
__global__ void __launch_bounds__(CU_THREADS) draw(const work w) {
  const uint64_t seed = static_cast<uint64_t>(w.seed.get()), row0 = static_cast<uint64_t>(w.row0.get());
  const int64_t stream = w.stream.get();
  if (stream < 0 || stream > UINT32_MAX) {
    if (blockIdx.x == 0 && threadIdx.x == 0) cu_record(w.fault, w.op, CREDENCE_INVALID_ARGUMENT, 0, stream);
    return;
  }
  float a = 0, b = 0, top = INFINITY; /* uniform: lo, hi - lo, the largest result; normal: mean, deviation */
  if (OF != BITS) {
    const double first = w.a.get(), second = w.b.get();
    a = static_cast<float>(first);
    b = static_cast<float>(OF == UNIFORM ? second - first : second);
    if (OF == UNIFORM && first < second) top = nextafterf(static_cast<float>(second), a);
  }
  const int64_t stride = gridDim.x * static_cast<int64_t>(CU_THREADS);
  for (int64_t k = blockIdx.x * static_cast<int64_t>(CU_THREADS) + threadIdx.x; k < w.total; k += stride) {
    int64_t at[2];
    cu_place(w.nest, k, at);
    const int64_t block = at[0], r = at[1];
    const uint64_t row = row0 + static_cast<uint64_t>(r);
    uint32_t word[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32),
                        static_cast<uint32_t>(stream)};
    philox(word, seed);
    if (OF == UNIFORM) {
#pragma unroll
      for (int j = 0; j < 4; j++)
        word[j] = __float_as_uint(cu_at_most(fmaf(static_cast<float>(word[j] >> 8) * 0x1p-24f, b, a), top));
    } else if (OF == NORMAL) {
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        const float length = radius(word[j]);
        float c, s;
        turn(word[j + 1], &c, &s);
        word[j] = __float_as_uint(fmaf(length * c, b, a));
        word[j + 1] = __float_as_uint(fmaf(length * s, b, a));
      }
    }
    uint32_t *y = reinterpret_cast<uint32_t *>(w.y) + r * w.columns + 4 * block;
    if (w.groups) {
      *reinterpret_cast<uint4 *>(y) = make_uint4(word[0], word[1], word[2], word[3]);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (4 * block + j < w.columns) y[j] = word[j];
    }
  }
}

template <kind OF>
int32_t run(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *y = &call->out[0];
  work w = {y->data,
            y->dim[1],
            0,
            {},
            y->dim[1] % 4 == 0 && cu_aligned(y->data, 16),
            cu_integer(ctx, 0),
            cu_integer(ctx, 1),
            cu_integer(ctx, 2),
            {},
            {},
            ctx->fault,
            ctx->op};
  cu_nest_add(&w.nest, cu_blocks(y->dim[1], 4), {1, 0});
  cu_nest_add(&w.nest, y->dim[0], {0, 1});
  w.total = cu_nest_close(&w.nest);
  if (OF != BITS) {
    w.a = cu_scalar(ctx, 0);
    w.b = cu_scalar(ctx, 1);
  }
  const dim3 grid = w.total > 0 ? cu_grid(w.total, 1) : dim3(1); /* nothing to draw still checks the stream */
  return cu_launch(ctx, err, draw<OF>, grid, CU_THREADS, 0, w);
}

template <kind OF>
void explain(const cr_call *, int64_t, int64_t value, credence_error *err) {
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "random_%s: stream %lld is outside 0 to %lld",
          OF == BITS      ? "bits"
          : OF == UNIFORM ? "uniform"
                          : "normal",
          static_cast<long long>(value), static_cast<long long>(UINT32_MAX));
}

constexpr uint64_t kIntegers = 7; /* seed, stream and row0 are read in the kernel */

}  // namespace

CU_FAMILY(random, {CREDENCE_OP_RANDOM_BITS, nullptr, run<BITS>, kIntegers, explain<BITS>},
          {CREDENCE_OP_RANDOM_UNIFORM, nullptr, run<UNIFORM>, kIntegers, explain<UNIFORM>},
          {CREDENCE_OP_RANDOM_NORMAL, nullptr, run<NORMAL>, kIntegers, explain<NORMAL>})
