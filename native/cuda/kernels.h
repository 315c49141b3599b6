/* kernels.h: the core's own kernels, as its C files call them. */
#ifndef CREDENCE_CUDA_KERNELS_H
#define CREDENCE_CUDA_KERNELS_H

#include "cu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* args.cu: stores values in device memory, in the order of the stream. */
int32_t cu_store_arguments(cudaStream_t stream, uint64_t *to, const uint64_t *values, uint32_t n, credence_error *err);

/* probe.cu: runs a kernel of this library on the current device and looks at what it wrote: finds drivers too old for
 * the library and architectures it holds no code for. */
int32_t cu_probe(credence_error *err);

#ifdef __cplusplus
}
#endif
#endif
