/* match_screen.h: intervals for the distances of many queries to many rows from a matrix product; see match_screen.c.
 */
#ifndef CREDENCE_CPU_MATCH_SCREEN_H
#define CREDENCE_CPU_MATCH_SCREEN_H

#include "match_int8.h"

/* Queries of a match, ready for screening: moved to the centre of the support. */
typedef struct cr_screen {
  const cr_match *m;
  int64_t first, rows; /* queries */
  float epsilon;       /* intervals are the estimate +- epsilon (|x|^2 + |y|^2) */
  float *centre;       /* [d] */
  float *x;            /* per block of CR_KC elements, [rows, CR_KC + CR_W] */
  float *norm;         /* [rows]: |x|^2 */
  bool coded;          /* products of 8-bit codes come first */
  cr_int8 codes;
} cr_screen;

/* Scratch for that many queries of d elements: shared by all threads, and of each. */
size_t CR_NAME(cr_screen_shared)(int64_t rows, int64_t d);
size_t CR_NAME(cr_screen_own)(int64_t rows, int64_t d);

/* Lays s out in the scratch and fills it, but for the queries. m is s->m; first and rows are set. */
void CR_NAME(cr_screen_begin)(cr_screen *s, char *scratch);

/* Fills in queries from .. to-1 of s. */
void CR_NAME(cr_screen_queries)(const cr_screen *s, int64_t from, int64_t to, char *own);

/* Compares queries q0 .. q1-1 of s with rows from .. to-1 of the supports. The list of query q0 + i is list[i * step].
 */
int32_t CR_NAME(cr_screen_scan)(const cr_screen *s, int64_t q0, int64_t q1, int64_t from, int64_t to,
                                cr_match_list *list, int64_t step, char *own, uint64_t *spare, credence_error *err);

#endif
