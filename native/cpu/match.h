/* match.h: how far a match reaches: the rows of a support in the order of (distance, number), up to the first whose
 * class is not a query's prediction.
 *
 * Nothing is sorted and no list of neighbours is kept. With b the first row that breaks the match, q is the number of
 * good rows before b, so it is enough to keep, in one pass over the support, the rows that may still count: those that
 * are surely not behind a breaking row, nor behind K good ones. A row comes with an interval that holds its canonical
 * distance (that of distance.h). Whatever the intervals leave open in the end is settled by computing those few
 * distances, so that the result is the definition's to the bit, whichever way the intervals were found: it does not
 * depend on how queries and rows are cut into tiles and tasks. */
#ifndef CREDENCE_CPU_MATCH_H
#define CREDENCE_CPU_MATCH_H

#include "distance.h"
#include "isa.h"
#include "rules.h"

enum {
  CR_MATCH_REMOVED = -2,
  CR_MATCH_TURN = 1024 /* most queries at a time */
};

/* Distances as integers in the order of the rows: they are not negative, so their bits are in order, and NaN is last.
 */
#define CR_MATCH_NAN 0x7fc00000u
static inline uint32_t cr_match_bits(float d) {
  uint32_t bits;
  memcpy(&bits, &d, sizeof bits);
  return d != d ? CR_MATCH_NAN : bits;
}
static inline float cr_match_float(uint32_t bits) {
  float d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

/* A row that may count. Its canonical distance is known where lo == hi. */
typedef struct cr_match_row {
  uint32_t lo, hi;         /* cr_match_bits */
  uint32_t number, breaks; /* breaks: 1 if its class is not the prediction */
} cr_match_row;

/* The rows of one query, or of one query and a part of the support. */
typedef struct cr_match_list {
  cr_match_row *row;
  int64_t n;
  uint32_t limit;  /* a row whose lo is above it cannot count any more */
  int64_t counted; /* in the end: rows done with */
} cr_match_list;

typedef struct cr_match_support {
  cr_rows y;
  const int32_t *class_of;
  int64_t base;        /* number of its first row */
  const float *centre; /* codes of the rows (match_coded.c): [d], [rows, d], [rows]; NULL: there are none */
  const uint8_t *code;
  const float (*fit)[2];
} cr_match_support;

/* One MATCH. */
typedef struct cr_match {
  const cr_ctx *ctx;
  cr_rows x;
  int64_t d, k, rows; /* length of a row, K, rows of all supports */
  const int32_t *prediction, *exclude;
  cr_match_support support[CR_MATCH_SUPPORTS];
  int64_t supports;
  bool coded;   /* they have codes */
  int64_t room; /* rows that a list holds: all there are, or well over K */
} cr_match;

/* Room of a list, given all rows of the support and K: what exceeds K is what a cut can free. */
static inline int64_t cr_match_room(int64_t rows, int64_t k) {
  const int64_t most = k < INT32_MAX / 4 ? (k < 256 ? k + 256 : 2 * k) : INT32_MAX / 2;
  return rows < most ? rows : most;
}

/* The canonical distance of a query to a row, as bits. */
uint32_t CR_NAME(cr_match_distance)(const cr_match *m, int64_t query, int64_t number);

/* Drops what cannot count from a full list; spare: one number per row of the room. */
void CR_NAME(cr_match_cut)(const cr_match *m, int64_t query, cr_match_list *list, uint64_t *spare);

typedef struct cr_match_result {
  float distance;
  int32_t q, nearest;
  uint64_t breaks; /* the first row that breaks: bits of its distance, number; UINT64_MAX: there is none */
} cr_match_result;

/* The results of up to CR_MATCH_TURN queries first .. from their lists, as many for each query as there are parts of
 * the support. The more queries at a time, the fewer times are rows read. */
void CR_NAME(cr_match_settle)(const cr_match *m, int64_t first, int64_t queries, cr_match_list *list, int64_t lists,
                              cr_match_result *result);

/* How many distances of the list settling would compute if no more rows came. */
int64_t CR_NAME(cr_match_open)(const cr_match_list *list);

/* Whether a row of that class breaks a query's match. */
static inline bool cr_match_breaks(const cr_match *m, int64_t query, int32_t class_of) {
  return class_of != CR_MATCH_REMOVED && (class_of < 0 || class_of != m->prediction[query]);
}

/* A row whose distance is in lo .. hi. */
static inline void cr_match_add(const cr_match *m, int64_t query, cr_match_list *list, uint32_t lo, uint32_t hi,
                                int64_t number, int32_t class_of, uint64_t *spare) {
  if (lo > list->limit || class_of == CR_MATCH_REMOVED || number == m->exclude[query]) return;
  const bool breaks = cr_match_breaks(m, query, class_of);
  if (breaks && hi < list->limit) list->limit = hi;
  if (list->n == m->room) {
    CR_NAME(cr_match_cut)(m, query, list, spare);
    if (lo > list->limit) return;
  }
  list->row[list->n++] = (cr_match_row){lo, hi, (uint32_t)number, breaks};
}

#endif
