/* device.h: what the files of the CUDA backend's core share: devices, memory and streams. Families see cu.h only. */
#ifndef CREDENCE_CUDA_DEVICE_H
#define CREDENCE_CUDA_DEVICE_H

#include <pthread.h>

#include "blas.h"
#include "core.h"
#include "cu.h"
#include "kernels.h"
#include "table.h"

/* Pinned memory through which pageable host memory travels: slots used in turn, each free again when its event has
 * passed. Allocated at the first copy. */
enum { CU_STAGING_SLOTS = 8, CU_STAGING_BYTES = 1 << 20 };
typedef struct cu_staging {
  char *memory;
  cudaEvent_t done[CU_STAGING_SLOTS];
  uint32_t next;
} cu_staging;

typedef struct cu_device {
  credence_device base;
  int32_t index, multiprocessors;
  void *context; /* CUDA's, as the driver names it */
  int64_t l2_bytes;
  char name[128];
  bool tf32, graphs;
  cudaMemPool_t pool; /* NULL where the driver has none: then plain allocations */
  pthread_mutex_t mutex;
  cudaStream_t copies; /* for memory and copies outside streams; under the mutex, as is what follows */
  cu_staging staging;
  pthread_mutex_t lost_mutex;
  credence_error lost; /* why; written once, before base.lost */
} cu_device;

typedef struct cu_buffer {
  credence_buffer base;
  bool pinned; /* host memory that the device reads where it lies */
} cu_buffer;

typedef struct cu_stream {
  credence_stream base;
  cudaStream_t stream;
  cu_blas *blas;
  cu_staging staging;
  char *scratch;
  size_t scratch_bytes;
  uint64_t scratch_version;
  cu_fault *fault, *fault_seen;    /* on the device; its copy in pinned memory */
  const credence_plan *unreported; /* a submission that may have found something wrong, and its binding */
  const cr_binding *unreported_binding;
  credence_error late; /* code 0: none */
  cudaEvent_t clock[2];
  uint64_t clock_ns; /* at clock[0] */
} cu_stream;

static inline cu_device *cu_device_of(credence_device *d) { return (cu_device *)(void *)d; }
static inline cu_stream *cu_stream_of(credence_stream *s) { return (cu_stream *)(void *)s; }

/* ---- device.c, besides the table's functions ---- */
/* Makes the device's context current on this thread; returns the one that was, for cu_leave. The host's own use of CUDA
 * on this thread is left as it was. */
void *cu_enter(const cu_device *);
void cu_leave(const cu_device *, void *before);
/* CREDENCE_OK for cudaSuccess; else the failure of `call` in *err, and a device that is lost stays lost. */
int32_t cu_check(cu_device *, const char *call, cudaError_t error, credence_error *err);

/* ---- memory.c ---- */
/* Device memory in the order of a stream, not cleared. The device must be current. */
int32_t cu_memory_alloc(cu_device *, cudaStream_t, uint64_t bytes, const char *what, char **out, credence_error *err);
void cu_memory_free(cu_device *, cudaStream_t, char *memory);
void cu_staging_close(cu_staging *);

/* ---- graph.c ---- */
/* Enqueues the plan over a resolved binding, as a graph once the same shapes and addresses come again. */
int32_t cu_run_plan(cu_stream *, cr_binding *, const credence_plan *, uint64_t tag, const double *fargs,
                    credence_error *err);

/* ---- families.c ---- */
void cu_families(const cr_op_row *rows[CREDENCE_OP_LIMIT]);

#endif
