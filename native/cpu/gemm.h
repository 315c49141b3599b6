/* gemm.h: the matrix-product core that MATMUL and the convolutions share. Compiled once per instruction set.
 *
 * y = act(alpha a b + bias), a tile of at most CR_MR rows by CR_NR columns at a time. b comes in panels of CR_NR
 * columns, row k at b + k * b_stride; a is read in place through one pointer per row, so that a dense matrix and the
 * windows of a convolution are the same thing to the kernel and nothing is copied for it.
 *
 * The order of summation is fixed, so that the bits of an element depend on its own row, column and K only, neither on
 * the tile it falls into nor on the number of rows, threads or tasks:
 *   - a block of CR_KC consecutive k is one chain of multiply-adds from zero, k ascending;
 *   - a chunk of CR_KS consecutive k is the sum of its blocks, in order;
 *   - the result is the sum of the chunks, in order. Then alpha, bias (one multiply-add) and the activation.
 * Blocks also keep rounding errors from growing with K: with inputs of one sign a single chain would drift. */
#ifndef CREDENCE_CPU_GEMM_H
#define CREDENCE_CPU_GEMM_H

#include "cr.h"
#include "isa.h"
#include "vec.h"

#define CR_NR (2 * CR_W)
/* Accumulators, two per row, fill the registers but for b's two and one of a. Twelve rows of AVX-512 rather than the
 * possible fourteen: as fast on long K and faster on short ones (no spills around the loop). */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CR_MR 12
#elif defined(__AVX2__)
#define CR_MR 6
#else
#define CR_MR 5
#endif
#define CR_KC 256
#define CR_KS (8 * CR_KC)

/* What follows the sum. bias: one value per column, or NULL. */
typedef struct cr_epilogue {
  float alpha, p;
  int64_t act;
  const float *bias;
} cr_epilogue;

/* Consecutive k of one block: elements offset .. offset + length - 1 from each row's pointer, times b's rows from row
 * on. Rows of b that no piece names are left out of the sum. */
typedef struct cr_piece {
  int64_t offset, length, row;
} cr_piece;

/* One tile and one block of K. */
typedef struct cr_tile {
  const float *const *a; /* cr_tile_rows: a pointer per row; cr_tile_columns: a pointer per k */
  const cr_piece *piece; /* cr_tile_rows: the block, in order */
  int64_t pieces;
  int64_t column, depth; /* cr_tile_columns: row r's element of each k is a[k][column + r]; the number of k */
  const float *b;
  int64_t b_stride;            /* elements */
  float *const *y;             /* a pointer per row, at the tile's first column */
  int64_t cols;                /* 1 .. CR_NR; b has whole vectors all the same */
  bool add;                    /* y += the block, else y = the block */
  const cr_epilogue *epilogue; /* NULL: more blocks follow */
  int64_t bias_at;             /* the tile's first column in bias */
} cr_tile;

/* rows is 1 .. CR_MR. */
void CR_NAME(cr_tile_rows)(const cr_tile *t, int64_t rows);
void CR_NAME(cr_tile_columns)(const cr_tile *t, int64_t rows);

/* Element k, n of b is at b + k * stride + n * size, or, transposed, at b + n * stride + k * size. */
typedef struct cr_matrix {
  const char *data;
  int64_t stride; /* bytes */
  int32_t dtype;  /* f32, f16 or bf16; q8_0 or q4_0 unless transposed */
  bool transposed;
} cr_matrix;

/* Copies rows k .. k + depth - 1, columns n .. n + cols - 1 of b into a panel of CR_NR columns, zeros beyond cols. */
void CR_NAME(cr_pack_panel)(const cr_matrix *b, int64_t k, int64_t depth, int64_t n, int64_t cols, float *panel);

/* The tile of one or two rows and the CR_NR columns from n on, for the rows k .. of a transposed b as it lies (t->b is
 * not used); t->depth is a multiple of CR_W. The sums are those of cr_tile_rows. */
void CR_NAME(cr_tile_turned)(const cr_tile *t, int64_t rows, const cr_matrix *b, int64_t k, int64_t n);

/* Finishes rows that were summed elsewhere: y = y + part, then the epilogue unless it is NULL; cols elements. */
void CR_NAME(cr_combine_row)(float *y, const float *part, int64_t cols, const cr_epilogue *epilogue, int64_t bias_at);

#if defined(__clang__)
#define CR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CR_UNROLL _Pragma("GCC unroll 16")
#endif
#define CR_INLINE static inline __attribute__((always_inline))

/* The first n >= 1 lanes, or all. */
static inline vf cr_load_up_to(const float *p, int64_t n) { return n < CR_W ? vf_load_n(p, n) : vf_load(p); }
static inline void cr_store_up_to(float *p, vf v, int64_t n) {
  if (n < CR_W)
    vf_store_n(p, v, n);
  else
    vf_store(p, v);
}

/* Rows are dealt to tiles as evenly as they go: tile i of n starts here. */
static inline int64_t cr_tile_count(int64_t rows) { return (rows + CR_MR - 1) / CR_MR; }
static inline int64_t cr_tile_start(int64_t rows, int64_t tiles, int64_t i) { return rows * i / tiles; }
static inline int64_t cr_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t cr_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t cr_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* A whole product, possibly a batch of them. */
typedef struct cr_gemm {
  int64_t m, n, k;
  const char *a;
  int64_t a_stride; /* bytes; element m, k is at m * a_stride + 4 k or, a_transposed, at k * a_stride + 4 m */
  bool a_transposed;
  cr_matrix b;
  char *y;
  int64_t y_stride;
  cr_epilogue epilogue;
  int64_t batch[3], a_batch[3], b_batch[3], y_batch[3]; /* sizes (1 where unused) and strides in bytes */
} cr_gemm;

/* Scratch that lets cr_gemm_run use all its ways of sharing the work, for this product and smaller ones. */
void CR_NAME(cr_gemm_scratch)(const cr_gemm *g, int32_t threads, cr_scratch *scratch);
int32_t CR_NAME(cr_gemm_run)(const cr_gemm *g, const cr_ctx *ctx, credence_error *err);

#endif
