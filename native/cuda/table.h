/* table.h: the functions of the backend's table (credence_native.h). With kernels those of device.c, memory.c, stream.c
 * and of native/core (cr_); without, those of absent.c. */
#ifndef CREDENCE_CUDA_TABLE_H
#define CREDENCE_CUDA_TABLE_H

#include "credence_native.h"

int32_t cu_device_count(int32_t *count, credence_error *err);
int32_t cu_device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err);
void cu_device_close(credence_device *);
int32_t cu_device_info(int32_t index, const credence_device *device_or_null, credence_device_info *out,
                       credence_error *err);
int32_t cu_set_option(credence_device *, const char *key, const char *value, credence_error *err);
int32_t cu_buffer_alloc(credence_device *, uint64_t bytes, uint32_t flags, credence_buffer **out, credence_error *err);
int32_t cu_buffer_wrap(credence_device *, const void *host, uint64_t bytes, credence_buffer **out, credence_error *err);
void cu_buffer_free(credence_buffer *);
void *cu_buffer_host(credence_buffer *);
int32_t cu_buffer_write(credence_stream *, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                        credence_error *err);
int32_t cu_buffer_read(credence_stream *, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                       credence_error *err);
int32_t cu_buffer_copy(credence_stream *, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                       uint64_t src_offset, uint64_t bytes, credence_error *err);
int32_t cr_op_supported(credence_device *, const credence_plan_desc *, uint32_t op_index, credence_error *err);
int32_t cr_plan_open(credence_device *, const credence_plan_desc *, credence_plan **out, credence_error *err);
void cr_plan_close(credence_plan *);
int32_t cu_stream_open(credence_device *, credence_stream **out, credence_error *err);
void cu_stream_close(credence_stream *);
int32_t cu_stream_submit(credence_stream *, credence_plan *, uint64_t tag, const credence_slot *slots, uint32_t n_slots,
                         const int64_t *iargs, uint32_t n_iargs, const double *fargs, uint32_t n_fargs,
                         credence_error *err);
int32_t cu_stream_sync(credence_stream *, credence_error *err);
void cr_stream_cancel(credence_stream *, uint64_t tag);
int32_t cu_stream_clock(credence_stream *, uint64_t *nanoseconds, credence_error *err);

#endif
