/* match_test.c: what a match relies on, seen from inside: intervals from the matrix product hold the canonical
 * distance, whatever the data, and few distances have to be computed to settle a match. Compiled once per instruction
 * set; status 77 where the processor lacks it.
 *
 *   match_test [verbose] */
#include <stdio.h>

#include "check.h"
#include "device.h"
#include "harness.h"
#include "match_coded.h"
#include "match_screen.h"

enum { QUERIES = 50, ROWS = 700, CLASSES = 7, MOST = 1100 };

static uint64_t seed = 5;
static const _Atomic uint64_t never = 0;
static const cr_ctx ctx = {.threads = 1, .cancel = &never, .tag = 1};

static double uniform(void) { return ((double)(draw(&seed) >> 11) + .5) * 0x1p-53; }
static float normal(void) { return (float)(sqrt(-2 * log(uniform())) * cos(2 * acos(-1) * uniform())); }

/* Data that are hard in different ways. */
static const struct style {
  const char *name;
  float scale, offset, spread; /* of a row around its class, of all, of the classes */
  bool odd;                    /* rows of very different lengths, and special values */
} styles[] = {{"random", 1, 0, 0, false},
              {"clusters", 1, 0, 1, false},
              {"far from the origin", 1, 50, 0, false},
              {"clusters far apart", 1e-2f, 7, 30, false},
              {"tiny", 1e-15f, 0, 1e-15f, false},
              {"vanishing", 1e-24f, 0, 0, false},
              {"huge", 1e16f, 0, 1e16f, false},
              {"odd", 1, 3, 2, true}};

static float centres[CLASSES][MOST], x[QUERIES][MOST], y[ROWS][MOST];
static int32_t prediction[QUERIES], exclude[QUERIES], class_of[ROWS];
static cr_match_list list[QUERIES];
static cr_match_row room[QUERIES * ROWS];
static uint64_t spare[ROWS];

static void fill_row(const struct style *s, int64_t d, float *row, int32_t class) {
  float scale = s->scale;
  if (s->odd) scale = ldexpf(1, (int)draw_range(&seed, -70, 66));
  for (int64_t k = 0; k < d; k++) row[k] = s->offset + s->spread * centres[class][k] + scale * normal();
  static const float special[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f};
  if (s->odd && d > 0 && draw(&seed) % 8 == 0) row[draw(&seed) % (uint64_t)d] = special[draw(&seed) % 6];
}

static cr_match draw_match(const struct style *s, int64_t d, int64_t k) {
  for (int c = 0; c < CLASSES; c++)
    for (int64_t j = 0; j < d; j++) centres[c][j] = normal();
  for (int i = 0; i < QUERIES; i++) {
    prediction[i] = (int32_t)draw_range(&seed, 0, CLASSES - 1), exclude[i] = -1;
    fill_row(s, d, x[i], prediction[i]);
  }
  for (int j = 0; j < ROWS; j++) {
    class_of[j] = (int32_t)draw_range(&seed, 0, CLASSES - 1);
    fill_row(s, d, y[j], class_of[j]);
  }
  return (cr_match){.ctx = &ctx,
                    .x = {(const char *)x, QUERIES, sizeof *x},
                    .d = d,
                    .k = k,
                    .rows = ROWS,
                    .prediction = prediction,
                    .exclude = exclude,
                    .support = {{{(const char *)y, 333, sizeof *y}, class_of, 0},
                                {{(const char *)y[333], ROWS - 333, sizeof *y}, class_of + 333, 333}},
                    .supports = 2,
                    .room = cr_match_room(ROWS, k)};
}

/* The ways to intervals. */
enum { FLOATS, CODES, KEPT, MODES };
static const char *const modes[] = {"floats", "codes", "kept"};

static bool usable(int mode, int64_t d) { return mode != CODES || CR_NAME(cr_int8_usable)(d); }

/* Codes of all rows around their mean, and every query against them. */
static void screen_kept(cr_match *m) {
  static uint8_t code[ROWS * MOST];
  static float fit[ROWS][2], own[MOST + CR_W], centre[MOST];
  CHECK(CR_NAME(cr_coded_own)(m->d) <= sizeof own);
  for (int64_t k = 0; k < m->d; k++) {
    centre[k] = 0;
    for (int64_t j = 0; j < ROWS; j++) centre[k] += y[j][k] / ROWS;
    if (!isfinite(centre[k])) centre[k] = 0;
  }
  for (int64_t j = 0; j < ROWS; j++) CR_NAME(cr_match_code)(y[j], centre, m->d, code + j * m->d, fit[j]);
  for (int64_t k = 0; k < m->supports; k++) {
    cr_match_support *support = &m->support[k];
    support->centre = centre, support->code = code + support->base * m->d;
    support->fit = (const float(*)[2])fit + support->base;
    for (int i = 0; i < QUERIES; i++)
      CR_NAME(cr_coded_scan)(m, i, support, 0, support->y.n, &list[i], (char *)own, spare);
  }
}

static void screen(cr_match *m, int mode) {
  static char shared[1 << 21] __attribute__((aligned(64))), own[1 << 21] __attribute__((aligned(64)));
  cr_screen s = {.m = m, .rows = QUERIES};
  CHECK(CR_NAME(cr_screen_shared)(QUERIES, m->d) <= sizeof shared &&
        CR_NAME(cr_screen_own)(QUERIES, m->d) <= sizeof own);
  for (int i = 0; i < QUERIES; i++) list[i] = (cr_match_list){.row = room + i * m->room, .limit = UINT32_MAX};
  if (mode == KEPT) {
    screen_kept(m);
    return;
  }
  CR_NAME(cr_screen_begin)(&s, shared);
  s.coded = s.coded && mode == CODES;
  CR_NAME(cr_screen_queries)(&s, 0, QUERIES, own);
  credence_error err;
  CHECK_STATUS(CR_NAME(cr_screen_scan)(&s, 0, QUERIES, 0, ROWS, list, 1, own, spare, &err), CREDENCE_OK, &err);
}

/* Every row is good and none is dropped: every interval holds its distance, and not by a hair. */
static void test_intervals(const struct style *s, int64_t d, int mode, bool verbose) {
  cr_match m = draw_match(s, d, ROWS);
  for (int i = 0; i < QUERIES; i++) prediction[i] = 0;
  memset(class_of, 0, sizeof class_of);
  screen(&m, mode);
  double worst = 0, width = 0;
  int64_t wrong = 0, intervals = 0;
  for (int i = 0; i < QUERIES; i++) {
    CHECK(list[i].n == ROWS);
    for (int64_t j = 0; j < list[i].n; j++) {
      const cr_match_row r = list[i].row[j];
      const uint32_t at = CR_NAME(cr_match_distance)(&m, i, r.number);
      wrong += !(r.lo <= at && at <= r.hi);
      if (r.lo == r.hi || r.lo == 0) continue;
      const double lo = cr_match_float(r.lo), hi = cr_match_float(r.hi), half = (hi - lo) / 2;
      worst = fmax(worst, fabs(cr_match_float(at) - (lo + half)) / half);
      width += half / (lo + half);
      intervals++;
    }
  }
  CHECK(wrong == 0);
  /* bounds of products have room: errors do not all have one sign; that of kept codes is met where x is nearly y */
  CHECK(mode == KEPT || worst < .75);
  CHECK(mode == KEPT || s->odd || intervals > 0 || s->scale < 1e-20f || d < 5);
  if (verbose && intervals > 0)
    printf("%-6s %-20s d = %4lld: half an interval is %.1e of the distance; the error at most %.2f of it\n",
           modes[mode], s->name, (long long)d, width / (double)intervals, worst);
}

/* How many distances are computed in the end. */
static void test_settling(const struct style *s, int64_t d, int64_t k, int mode, bool verbose) {
  cr_match m = draw_match(s, d, k);
  screen(&m, mode);
  static cr_match_result result[QUERIES];
  CR_NAME(cr_match_settle)(&m, 0, QUERIES, list, 1, result);
  int64_t computed = 0, most = 0, q = 0;
  for (int i = 0; i < QUERIES; i++) {
    int64_t n = 0;
    for (int64_t j = 0; j < list[i].n; j++) n += list[i].row[j].lo == list[i].row[j].hi;
    computed += n, q += result[i].q;
    if (n > most) most = n;
  }
  if (verbose)
    printf("%-6s %-20s d = %4lld, K = %lld: q is %.1f on average, %.2f distances computed, at most %lld\n", modes[mode],
           s->name, (long long)d, (long long)k, (double)q / QUERIES, (double)computed / QUERIES, (long long)most);
  CHECK(computed <= (mode == FLOATS ? 4 : 40) * QUERIES); /* of 700 rows; codes are given up where that is too many */
}

int main(int argc, char **argv) {
#if defined(__AVX512F__)
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return 77;
#elif defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
#endif
  static const int64_t lengths[] = {1, 2, 17, 255, 256, 257, 1000, MOST - 1};
  (void)argv;
  const bool verbose = argc > 1;
  for (int mode = 0; mode < MODES; mode++) {
    for (size_t k = 0; k < sizeof styles / sizeof *styles; k++)
      for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        if (usable(mode, lengths[l])) test_intervals(&styles[k], lengths[l], mode, verbose);
    for (size_t k = 0; k < 3 && usable(mode, 64); k++) {
      test_settling(&styles[k], 1000, 2048, mode, verbose);
      test_settling(&styles[k], 64, 30, mode, verbose);
    }
  }
  return report("match");
}
