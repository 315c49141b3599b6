/* transpose.h: CR_W x CR_W floats turned in registers, so that every cache line is read and written once. */
#ifndef CREDENCE_CPU_TRANSPOSE_H
#define CREDENCE_CPU_TRANSPOSE_H

#include "vec.h"

/* Stage s swaps the off-diagonal s x s blocks of rows i and i + s, for all i without bit s. */
#define CR_TURN(ROW, S, FIRST, SECOND)                      \
  for (int32_t i = 0; i < CR_W; i++) {                      \
    if (i & (S)) continue;                                  \
    vf a = (ROW)[i], b = (ROW)[i + (S)];                    \
    (ROW)[i] = __builtin_shufflevector(a, b, FIRST);        \
    (ROW)[i + (S)] = __builtin_shufflevector(a, b, SECOND); \
  }
#define CR_LIST(...) __VA_ARGS__

static inline void cr_turn(vf *row) {
#if CR_W == 16
  CR_TURN(row, 1, CR_LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          CR_LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
  CR_TURN(row, 2, CR_LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          CR_LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  CR_TURN(row, 4, CR_LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          CR_LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  CR_TURN(row, 8, CR_LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          CR_LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#elif CR_W == 8
  CR_TURN(row, 1, CR_LIST(0, 8, 2, 10, 4, 12, 6, 14), CR_LIST(1, 9, 3, 11, 5, 13, 7, 15))
  CR_TURN(row, 2, CR_LIST(0, 1, 8, 9, 4, 5, 12, 13), CR_LIST(2, 3, 10, 11, 6, 7, 14, 15))
  CR_TURN(row, 4, CR_LIST(0, 1, 2, 3, 8, 9, 10, 11), CR_LIST(4, 5, 6, 7, 12, 13, 14, 15))
#else
  CR_TURN(row, 1, CR_LIST(0, 4, 2, 6), CR_LIST(1, 5, 3, 7))
  CR_TURN(row, 2, CR_LIST(0, 1, 4, 5), CR_LIST(2, 3, 6, 7))
#endif
}

#endif
