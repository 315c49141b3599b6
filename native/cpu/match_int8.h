/* match_int8.h: intervals for the distances of many queries to many rows from 8-bit codes; see match_int8.c. */
#ifndef CREDENCE_CPU_MATCH_INT8_H
#define CREDENCE_CPU_MATCH_INT8_H

#include "match.h"

/* A vector v as scale times a code of whole numbers, and how far that is from it. */
typedef struct cr_code {
  float scale, square; /* |scale code|^2; Inf: not to be screened */
  float radius;        /* at least |v - scale code| */
  int32_t sum;         /* of the code */
} cr_code;

/* Queries of a match, coded. */
typedef struct cr_int8 {
  const cr_match *m;
  const float *centre;         /* [d] that is subtracted from all vectors */
  int64_t first, rows, stride; /* queries; bytes of a code: d, rounded up */
  int8_t *x;                   /* [rows, stride] */
  cr_code *code;               /* [rows] */
} cr_int8;

/* Whether this processor has the instructions and the sizes are in range. */
bool CR_NAME(cr_int8_usable)(int64_t d);

/* Scratch for that many queries of d elements: shared by all threads, and of each. */
size_t CR_NAME(cr_int8_shared)(int64_t rows, int64_t d);
size_t CR_NAME(cr_int8_own)(int64_t d);

/* Lays s out in the scratch; m, centre, first and rows are set. */
void CR_NAME(cr_int8_begin)(cr_int8 *s, char *scratch);

/* Fills in queries from .. to-1 of s. */
void CR_NAME(cr_int8_queries)(const cr_int8 *s, int64_t from, int64_t to, char *own);

/* Compares queries q0 .. q1-1 of s with rows of a support from row on, as many as it says that it did, up to cols. The
 * list of query q0 + i is list[i * step]. */
int64_t CR_NAME(cr_int8_group)(const cr_int8 *s, int64_t q0, int64_t q1, const cr_match_support *support, int64_t row,
                               int64_t cols, cr_match_list *list, int64_t step, char *own, uint64_t *spare);

#endif
