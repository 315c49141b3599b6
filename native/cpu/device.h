/* device.h: what the CPU backend adds to the core's devices, buffers and streams, and the functions of its table. Op
 * families see cr.h only. */
#ifndef CREDENCE_CPU_DEVICE_H
#define CREDENCE_CPU_DEVICE_H

#include "core.h"
#include "cr.h"

typedef struct cpu_device {
  credence_device base;
  cr_pool *pool;
  const char *isa;
  int32_t blas_panels;
} cpu_device;

typedef struct cpu_buffer {
  credence_buffer base;
  uint64_t mapped; /* size of the mapping, 0: from the heap or wrapped */
} cpu_buffer;

typedef struct cpu_stream {
  credence_stream base;
  cr_ctx ctx;
  size_t scratch_bytes;
  uint64_t opened_at;
} cpu_stream;

/* ---- memory.c ---- */
int32_t cr_buffer_alloc(credence_device *, uint64_t bytes, uint32_t flags, credence_buffer **out, credence_error *err);
int32_t cr_buffer_wrap(credence_device *, const void *host, uint64_t bytes, credence_buffer **out, credence_error *err);
void cr_buffer_free(credence_buffer *);
void *cr_buffer_host(credence_buffer *);
int32_t cr_buffer_write(credence_stream *, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                        credence_error *err);
int32_t cr_buffer_read(credence_stream *, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                       credence_error *err);
int32_t cr_buffer_copy(credence_stream *, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                       uint64_t src_offset, uint64_t bytes, credence_error *err);
void cr_memory_info(uint64_t *total, uint64_t *free); /* bytes of the machine or of its control group */

/* ---- device.c ---- */
int32_t cr_device_count(int32_t *count, credence_error *err);
int32_t cr_device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err);
void cr_device_close(credence_device *);
int32_t cr_device_info(int32_t index, const credence_device *device_or_null, credence_device_info *out,
                       credence_error *err);
int32_t cr_set_option(credence_device *, const char *key, const char *value, credence_error *err);

/* ---- isa_select.c ---- */
const char *cr_isa_best(void);             /* the widest set that this machine and its operating system run */
const char *cr_isa_names(char buffer[64]); /* "auto, generic, avx2": what cpu_isa may be here */
/* Fills rows by opcode for a set ("auto": the best); its name, or NULL if it is unknown or does not run here. */
const char *cr_isa_select(const char *isa, const cr_op_row *rows[CREDENCE_OP_LIMIT]);

/* ---- pool.c ---- */
int32_t cr_pool_open(int32_t threads, cr_pool **out, credence_error *err);
void cr_pool_close(cr_pool *);
/* Puts the floating-point unit into its default state (no flush to zero, round to nearest); returns the state before,
 * for cr_float_restore. Hosts that were built with -ffast-math would otherwise change results. */
uint32_t cr_float_default(void);
void cr_float_restore(uint32_t state);

/* ---- stream.c ---- */
int32_t cr_stream_open(credence_device *, credence_stream **out, credence_error *err);
void cr_stream_close(credence_stream *);
int32_t cr_stream_submit(credence_stream *, credence_plan *, uint64_t tag, const credence_slot *slots, uint32_t n_slots,
                         const int64_t *iargs, uint32_t n_iargs, const double *fargs, uint32_t n_fargs,
                         credence_error *err);
int32_t cr_stream_sync(credence_stream *, credence_error *err);
int32_t cr_stream_clock(credence_stream *, uint64_t *nanoseconds, credence_error *err);

#endif
