/* emulator.h: what tests, and the emulated cuBLAS, see of the emulator besides CUDA's own API. */
#ifndef CREDENCE_EMULATOR_H
#define CREDENCE_EMULATOR_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
#include <functional>

/* Enqueues work in the order of a stream, or records it where the stream is capturing. A launch that returns an error
 * other than cudaSuccess breaks the device. */
EMU_API cudaError_t emu_enqueue(cudaStream_t stream, std::function<cudaError_t()> work);

extern "C" {
#endif

/* What has been made and not yet been destroyed. */
typedef struct emu_counts {
  int64_t allocations, host_allocations, pools, streams, events, graphs, execs;
} emu_counts;
EMU_API emu_counts emu_live(void);

/* What the last kernel that failed did wrong; "" if none has. Also what cudaGetErrorString says of its error. */
EMU_API const char *emu_failure(void);

/* The next synchronisation on the device fails with this error, and every call after it. */
EMU_API void emu_break(int device, cudaError_t error);
/* Makes all devices whole again. */
EMU_API void emu_mend(void);

#ifdef __cplusplus
}
#endif
#endif
