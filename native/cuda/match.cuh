/* match.cuh: how far a match reaches: the rows of a support in the order of (distance, number), up to the first whose
 * class is not a query's prediction. What the files of the family share.
 *
 * As in cpu/match.h nothing is sorted. With b the first row that breaks the match, q is the number of good rows before
 * b. Two ways lead there:
 *   direct    every distance is computed (sqdist.cuh), the first row and b are least keys, and then q is counted. For
 *             few queries and for small supports, and for what screening leaves;
 *   screened  a matrix product gives intervals for the distances, chunk by chunk; each query keeps a list of the rows
 *             that may still count; in the end those few distances are computed that the intervals leave open.
 * Both give the definition's result to the bit, so it does not depend on batches, chunks or the way. */
#ifndef CREDENCE_CUDA_MATCH_CUH
#define CREDENCE_CUDA_MATCH_CUH

#include "sqdist.cuh"

namespace cu_match {

constexpr int kSupports = 29; /* what an operation's 64 tensors leave room for */
constexpr int kRemoved = -2;
constexpr uint32_t kBreaks = 1u << 31; /* beside a row's number in a list */
constexpr float kHuge = 1e37f;         /* squared lengths that a product can still be trusted with */

/* The emulator's sizes are small, so that the cases of the compliance suite have several chunks and full lists. */
#ifdef CREDENCE_EMULATED
constexpr int kThreads = 64;
constexpr int64_t kProductBytes = 96 << 10, kRowBytes = 256 << 10, kListBytes = 1 << 20, kSlack = 32;
constexpr int64_t kTurn = 48, kDirectTurn = 64, kFewQueries = 4, kFewElements = 3, kFewTerms = 0;
#else
constexpr int kThreads = 256;
constexpr int64_t kProductBytes = 64 << 20; /* most of a chunk's product */
constexpr int64_t kRowBytes = 32 << 20;     /* most of a chunk's rows, moved to the centre */
constexpr int64_t kListBytes = 128 << 20;
constexpr int64_t kSlack = 1024;       /* least entries of a list beyond K */
constexpr int64_t kTurn = 1024;        /* most queries at a time, screened */
constexpr int64_t kDirectTurn = 65536; /* and directly */
constexpr int64_t kFewQueries = 16;    /* up to which a scan runs at the rate of memory */
constexpr int64_t kFewElements = 16;   /* shorter rows are not worth a product, */
constexpr int64_t kFewTerms = 1 << 27; /* nor are so few terms in all: about 20 us */
#endif
constexpr int kColumns = 8;                   /* of a chunk a thread looks at, at a time */
constexpr int kSegment = kThreads * kColumns; /* a block */
constexpr int64_t kLeastTurn = 16;
constexpr int64_t kChunkStep = 128, kMostChunk = 16384; /* rows */

struct support {
  cu_sq::rows y;
  const int32_t *class_of;
  int64_t base; /* number of its first row */
};

/* One MATCH; queries of a turn are numbered from 0. */
struct match {
  cu_sq::rows x;
  const int32_t *prediction, *exclude;
  int32_t *q, *nearest;
  float *distance;
  int64_t d, k, rows; /* length of a row, K, rows of all supports */
  int32_t supports;
  support of[kSupports];

  __device__ bool breaks(int64_t query, int32_t class_of) const {
    return class_of < 0 || class_of != __ldg(prediction + query);
  }
  /* Which support has a row. */
  __device__ int support_of(int64_t number) const {
    int s = supports - 1;
    while (of[s].base > number) s--;
    return s;
  }
  __device__ void store(int64_t query, int64_t count, cu_sq::key first) const {
    const bool none = first == cu_sq::kNone;
    q[query] = static_cast<int32_t>(count < k ? count : k);
    distance[query] = none ? __int_as_float(0x7f800000) : cu_sq::distance_of(first);
    nearest[query] = none ? -1 : static_cast<int32_t>(static_cast<uint32_t>(first));
  }
};

/* What is known of each query: the first rows, and the good ones before the one that breaks. */
struct found {
  cu_sq::key *nearest, *breaks;
  int32_t *count;
};

/* Intervals: the true distance is within epsilon (|x - c|^2 + |y - c|^2) + tiny of its estimate, and the canonical one
 * within `canonical` of itself, and tiny, of the true one. */
struct bounds {
  float epsilon, canonical, tiny;

  /* What no row's true distance may exceed that may still come before one at a distance of at most d. */
  __device__ float reach(float d) const { return d * (1 + canonical) + tiny; }
};

/* The rows that may count, of each query of a turn. A row of n entries: the interval of its true distance, and its
 * number with kBreaks. A row whose lo exceeds the limit does not count. over: the list is given up. */
struct lists {
  float *lo, *hi; /* [turn, room] */
  uint32_t *row;
  int room;
  int32_t *n, *over; /* [turn] */
  float *limit;
  int32_t *pick, *picked; /* the queries given up, and how many */
};

/* ---- match_direct.cu ---- */

/* Every distance for queries 0 .. x.n - 1. distance: room for one float a query and row. */
int32_t direct(const cr_ctx *ctx, const match &m, const found &f, float *distance, credence_error *err);

/* For the queries whose lists are given up; f is begun. */
int32_t direct_rest(const cr_ctx *ctx, const match &m, const found &f, const lists &l, credence_error *err);

/* ---- match_screen.cu ---- */

/* Scratch of a screened turn. depth: elements of a moved row, d rounded up to whole vectors. */
struct screening {
  int64_t depth, chunk; /* most rows of a product */
  float *centre;        /* [depth] */
  float *x, *norm;      /* [turn, depth], [turn] */
  struct rows {
    float *y, *norm;   /* [chunk, depth], [chunk]; a length of NaN: not to be screened */
    int32_t *class_of; /* [chunk] */
  } side[2];
  float *product; /* [turn, chunk] */
  bounds b;
};

bounds bounds_of(int64_t d, bool tf32);

int32_t find_centre(const cr_ctx *ctx, const match &m, const screening &s, credence_error *err);

/* Fills the lists of queries 0 .. x.n - 1, and begins f. */
int32_t screen(const cr_ctx *ctx, const match &m, const screening &s, const lists &l, const found &f,
               credence_error *err);

/* ---- match_settle.cu ---- */

/* The results of the queries whose lists are not given up. */
int32_t settle(const cr_ctx *ctx, const match &m, const bounds &b, const lists &l, credence_error *err);

/* ---- match_codes.cu ---- */

int32_t run_codes(const cr_call *call, const cr_ctx *ctx, credence_error *err);

}  // namespace cu_match

#endif
