/* vector_test.c: what the vector headers promise: elementary functions and activations within the bounds that the host
 * states (ops/unary.go, ops/activation_def.go), the same bits in tails as in full vectors, exact conversions of the
 * 16-bit types, lanes in their places. Compiled once per instruction set; status 77 where the processor lacks it. */
#include <stdlib.h>

#include "act.h"
#include "check.h"
#include "narrow.h"
#include "rules.h"
#include "transpose.h"

/* bits of NaN may differ, everything else may not */
static bool same(float a, float b) { return memcmp(&a, &b, 4) == 0 || (a != a && b != b); }

static uint64_t state = 88172645463325252u;
static uint32_t draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

/* ---- functions ---- */

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double cdf(double x) { return .5 * erfc(-x / sqrt(2)); }
static double density(double x) { return exp(-x * x / 2) / sqrt(2 * acos(-1)); }

static double ref_rsqrt(double x) { return 1 / sqrt(x); }
static double ref_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static double ref_gelu(double x) { return x == -INFINITY ? 0 : x * cdf(x); }
static double ref_silu(double x) { return x == -INFINITY ? 0 : x * sigmoid(x); }
static double ref_one_minus_exp(double x) { return x < 0 ? 0 : -expm1(-x); }
static double ref_tanh_grad(double x) { return 1 / (cosh(x) * cosh(x)); }
static double ref_sigmoid_grad(double x) { return sigmoid(x) * sigmoid(-x); }
static double ref_gelu_grad(double x) { return isinf(x) ? x > 0 : cdf(x) + x * density(x); }
static double ref_silu_grad(double x) { return isinf(x) ? x > 0 : sigmoid(x) * (1 + x * sigmoid(-x)); }
static double size_gelu_grad(double x) { return cdf(x) + fabs(x) * density(x); }
static double size_silu_grad(double x) { return sigmoid(x) * (1 + fabs(x) * sigmoid(-x)); }

static vf get_exp(vf x) { return vf_exp(x); }
static vf get_log(vf x) { return vf_log(x); }
static vf get_sqrt(vf x) { return vf_sqrt(x); }
static vf get_rsqrt(vf x) { return vf_set(1) / vf_sqrt(x); }
static vf get_one_minus_exp(vf x) { return vf_one_minus_exp(vf_at_least(x, 0)); }
#define ACT(NAME, KIND)                                        \
  static vf get_##NAME(vf x) { return act_apply(KIND, 0, x); } \
  static vf get_##NAME##_grad(vf x) { return act_grad(KIND, 0, x, vf_set(1)); }
ACT(gelu, CREDENCE_ACT_GELU)
ACT(silu, CREDENCE_ACT_SILU)
ACT(tanh, CREDENCE_ACT_TANH)
ACT(sigmoid, CREDENCE_ACT_SIGMOID)
ACT(softplus, CREDENCE_ACT_SOFTPLUS)

/* |error| <= eps eps size(x) + floor 2^-149 (1 + min(|x|, 128)) beyond the rounding of the result. */
static const struct function {
  const char *name;
  vf (*get)(vf);
  double (*ref)(double), (*size)(double); /* size: NULL is |ref| */
  double eps, floor;
} functions[] = {{"exp", get_exp, exp, NULL, 1, 1},
                 {"log", get_log, log, NULL, 1, 0},
                 {"sqrt", get_sqrt, sqrt, NULL, 0, 0},
                 {"rsqrt", get_rsqrt, ref_rsqrt, NULL, 1, 0},
                 {"tanh", get_tanh, tanh, NULL, 3, 1},
                 {"sigmoid", get_sigmoid, sigmoid, NULL, 3, 1},
                 {"softplus", get_softplus, ref_softplus, NULL, 4, 1},
                 {"gelu", get_gelu, ref_gelu, NULL, 8, 1},
                 {"silu", get_silu, ref_silu, NULL, 4, 1},
                 {"1 - exp(-x)", get_one_minus_exp, ref_one_minus_exp, NULL, 1, 1},
                 {"tanh'", get_tanh_grad, ref_tanh_grad, NULL, 8, 4},
                 {"sigmoid'", get_sigmoid_grad, ref_sigmoid_grad, NULL, 8, 2},
                 {"softplus'", get_softplus_grad, sigmoid, NULL, 3, 1},
                 {"gelu'", get_gelu_grad, ref_gelu_grad, size_gelu_grad, 8, 1},
                 {"silu'", get_silu_grad, ref_silu_grad, size_silu_grad, 8, 1}};

static double ulp(double v) {
  double a = fabs(v);
  return ldexp(1, (a > 0x1p-126 ? ilogb(a) : -126) - 23);
}

static void test_function(const struct function *f, long vectors) {
  static const float edges[] = {0,
                                -0.f,
                                INFINITY,
                                -INFINITY,
                                NAN,
                                1e-45f,
                                -1e-45f,
                                1.1754942e-38f,
                                1.17549435e-38f,
                                3.4028235e38f,
                                -3.4028235e38f,
                                1,
                                -1,
                                88.722839f,
                                88.72284f,
                                -87.336544f,
                                -103.972f,
                                -103.98f,
                                .55f,
                                -.55f,
                                16,
                                -16,
                                128,
                                -128,
                                .99999994f,
                                1.0000001f};
  double worst_ulp = 0, worst_eps = 0;
  long wrong = 0, tails = 0;
  float at = 0;
  for (long i = 0; i < vectors; i++) {
    float x[CR_W], y[CR_W];
    for (int k = 0; k < CR_W; k++) {
      const uint32_t bits = draw();
      const float unit = (float)(int32_t)bits * 0x1p-31f;
      if (i * CR_W + k < (long)(sizeof edges / sizeof *edges))
        x[k] = edges[i * CR_W + k];
      else if (i % 4 == 0)
        memcpy(x + k, &bits, 4);
      else
        x[k] = unit * (i % 4 == 1 ? 110 : i % 4 == 2 ? 16 : 2);
    }
    vf_store(y, f->get(vf_load(x)));
    for (int k = 0; k < CR_W; k++) {
      float alone;
      vf_store_n(&alone, f->get(vf_load_n(x + k, 1)), 1);
      tails += !same(alone, y[k]);
      const double r = f->ref(x[k]);
      const float rounded = (float)r;
      if (isnan(rounded) || isinf(rounded)) {
        wrong += !(isnan(rounded) ? isnan(y[k]) : y[k] == rounded || fabs(y[k]) > 3.4028e38);
        continue;
      }
      const double off = fabs(y[k] - r), size = f->size && !isinf(x[k]) ? f->size(x[k]) : fabs(r);
      const double floor = f->floor * 0x1p-149 * (1 + fmin(fabs(x[k]), 128));
      const double beyond = off - ulp(r) / 2 - floor;
      if (!(beyond <= f->eps * 0x1p-24 * size)) {
        wrong += fabs(r) < 3.4028e38; /* else Inf is right */
        at = x[k];
      }
      if (beyond > 0 && size > 0) worst_eps = fmax(worst_eps, beyond / size * 0x1p24);
      if (size > 0x1p-120) worst_ulp = fmax(worst_ulp, off / ulp(size));
    }
  }
  printf("  %-12s %.2f ulp where normal; beyond rounding %.2f eps\n", f->name, worst_ulp, worst_eps);
  if (wrong > 0) fprintf(stderr, "%s: %ld wrong, for example at %.9g\n", f->name, wrong, at);
  CHECK(wrong == 0);
  CHECK(tails == 0);
}

/* ---- kinds that are linear in pieces: exact ---- */

static void test_pieces(void) {
  const float x[] = {0, -0.f, 1.5f, -1.5f, .25f, .2f, INFINITY, -INFINITY, NAN, 3e38f};
  for (size_t k = 0; k < sizeof x / sizeof *x; k++) {
    const float v = x[k];
    const vf u = vf_set(v), two = vf_set(2);
    const bool nan = v != v;
    CHECK(act_apply(CREDENCE_ACT_RELU, 0, u)[0] == (v > 0 ? v : 0) || nan);
    CHECK(act_apply(CREDENCE_ACT_FATRELU, .25f, u)[0] == (v >= .25f ? v : 0) || nan);
    CHECK(act_apply(CREDENCE_ACT_SHIFTED_RELU, .25f, u)[0] == (v > .25f ? v - .25f : 0) || nan);
    CHECK(act_apply(CREDENCE_ACT_LEAKY_RELU, .5f, u)[0] == (v > 0 ? v : .5f * v) || nan);
    CHECK(act_apply(CREDENCE_ACT_RELU_SQUARED, 0, u)[0] == (v > 0 ? v * v : 0) || nan);
    for (int64_t kind = CREDENCE_ACT_RELU; kind <= CREDENCE_ACT_RELU_SQUARED; kind++)
      CHECK(!nan || isnan(act_apply(kind, .25f, u)[0]));
    CHECK(act_grad(CREDENCE_ACT_RELU, 0, u, two)[0] == (v > 0 ? 2 : 0));
    CHECK(act_grad(CREDENCE_ACT_FATRELU, .25f, u, two)[0] == (v >= .25f ? 2 : 0));
    CHECK(act_grad(CREDENCE_ACT_SHIFTED_RELU, .25f, u, two)[0] == (v > .25f ? 2 : 0));
    CHECK(act_grad(CREDENCE_ACT_LEAKY_RELU, .5f, u, two)[0] == (v > 0 ? 2 : 1));
  }
  CHECK(cr_act_valid(CREDENCE_ACT_FATRELU, 0) && !cr_act_valid(CREDENCE_ACT_FATRELU, -1) && !cr_act_valid(11, 0) &&
        !cr_act_valid(-1, 0) && !cr_act_valid(CREDENCE_ACT_LEAKY_RELU, NAN) &&
        !cr_act_valid(CREDENCE_ACT_LEAKY_RELU, INFINITY));
}

/* ---- conversions ---- */

static double value_of_half(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  double v = exponent == 31  ? (mantissa ? NAN : INFINITY)
             : exponent == 0 ? ldexp(mantissa, -24)
                             : ldexp(1024 + mantissa, exponent - 25);
  return h >> 15 ? -v : v;
}

static void check_half(float x, uint16_t want) {
  vh h = vf_to_half(vf_set(x));
  if (h[0] != want) fprintf(stderr, "half of %a is %#x, not %#x\n", x, h[0], want);
  CHECK(h[0] == want);
}

static void test_conversions(void) {
  for (uint32_t h = 0; h < 65536; h++) {
    vh all = {0};
    all[h % CR_W] = (uint16_t)h;
    const float got = vf_from_half(all)[h % CR_W];
    const double want = value_of_half((uint16_t)h);
    if (!(got == want || (isnan(got) && isnan(want)))) CHECK(false);
    if (isnan(want)) {
      CHECK(isnan(vf_from_half(vf_to_half(vf_set(got)))[0]));
      continue;
    }
    check_half(got, (uint16_t)h);
    if (isinf(want)) continue;
    /* half-way to the next, which for the largest is 2^16: even wins; and either side of it */
    const double next = (h & 0x7fff) == 0x7bff ? copysign(65536, want) : value_of_half((uint16_t)(h + 1));
    const float middle = (float)((want + next) / 2);
    check_half(middle, (uint16_t)(h & 1 ? h + 1 : h));
    check_half(nextafterf(middle, got), (uint16_t)h);
    check_half(nextafterf(middle, (float)next), (uint16_t)(h + 1));
    const uint32_t bits = h << 16;
    float b;
    memcpy(&b, &bits, 4);
    CHECK(vf_to_bfloat(vf_set(b))[0] == h || b != b);
  }
  CHECK(vf_to_bfloat(vf_set(1.00390625f))[0] == 0x3f80);   /* half-way, to even */
  CHECK(vf_to_bfloat(vf_set(1.01171875f))[0] == 0x3f82);   /* half-way, to even */
  CHECK(vf_to_bfloat(vf_set(3.4028235e38f))[0] == 0x7f80); /* rounds to Inf */
  CHECK((vf_to_bfloat(vf_set(NAN))[0] & 0x7fff) > 0x7f80); /* stays NaN */
}

/* ---- lanes ---- */

static void test_lanes(void) {
  float x[CR_W], y[CR_W + 1];
  for (int k = 0; k < CR_W; k++) x[k] = (float)(k + 1);
  for (int n = 1; n < CR_W; n++) {
    for (int k = 0; k <= CR_W; k++) y[k] = -7;
    vf v = vf_load_n(x, n);
    for (int k = 0; k < CR_W; k++) CHECK(v[k] == (k < n ? x[k] : 0));
    vf_store_n(y, vf_load(x), n);
    for (int k = 0; k <= CR_W; k++) CHECK(y[k] == (k < n ? x[k] : -7));
  }
  CHECK(vf_sum(vf_load(x)) == CR_W * (CR_W + 1) / 2);
  CHECK(vf_max_lane(vf_load(x)) == CR_W && vf_min_lane(vf_load(x)) == 1);
  for (int k = 0; k < CR_W; k++) {
    vf v = vf_load(x);
    v[k] = NAN;
    CHECK(isnan(vf_max_lane(v)) && isnan(vf_min_lane(v)));
  }
  vf row[CR_W];
  for (int r = 0; r < CR_W; r++)
    for (int c = 0; c < CR_W; c++) row[r][c] = (float)(100 * r + c);
  cr_turn(row);
  for (int r = 0; r < CR_W; r++)
    for (int c = 0; c < CR_W; c++) CHECK(row[r][c] == (float)(100 * c + r));
}

int main(int argc, char **argv) {
#if defined(__AVX512F__)
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return 77;
#elif defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
#endif
  const long vectors = (argc > 1 ? atol(argv[1]) : 200000) / CR_W;
  for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) test_function(&functions[k], vectors);
  test_pieces();
  test_conversions();
  test_lanes();
  return report("vectors");
}
