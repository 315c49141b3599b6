/* match_coded.h: codes of support rows, and intervals from them; see match_coded.c. */
#ifndef CREDENCE_CPU_MATCH_CODED_H
#define CREDENCE_CPU_MATCH_CODED_H

#include "match.h"

/* Codes row less centre, d elements; fit: the scale, and a bound on the length of what is left. */
void CR_NAME(cr_match_code)(const float *row, const float *centre, int64_t d, uint8_t *code, float fit[2]);

/* A thread's scratch for cr_coded_scan. */
size_t CR_NAME(cr_coded_own)(int64_t d);

/* Compares a query with rows from .. to-1 of a support through its codes. */
void CR_NAME(cr_coded_scan)(const cr_match *m, int64_t query, const cr_match_support *support, int64_t from, int64_t to,
                            cr_match_list *list, char *own, uint64_t *spare);

#endif
