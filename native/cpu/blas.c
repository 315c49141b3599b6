/* OpenBLAS in this backend. No op calls it: the kernels of gemm.c were measured to be as fast as its sgemm at 256 to
 * 2048 (ci/bench), faster on the long thin shapes of convolutions and language models, and unlike it they give the same
 * bits however rows and threads are shared out. The host's linear algebra uses the same shared library in the same
 * process, though, so its threads are settled here as well: one, or they would fight with the pool's for the cores. */
#include <cblas.h>
#include <stdio.h>

#include "cr.h"

int32_t cr_blas_init(char detail[256]) {
  openblas_set_num_threads(1);
  snprintf(detail, 256, "OpenBLAS %s for %s, one thread, for the host; matrix products here use this backend's kernels",
           CREDENCE_OPENBLAS, openblas_get_corename());
  return 0; /* no op wants row panels */
}
