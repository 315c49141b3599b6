/* forward.h: what the Go side calls.
 *
 * A function pointer cannot be called from Go, so each entry of the backend's table has a forwarder here. Forwarders
 * take plain pointers, never a struct of pointers: Go memory that holds Go pointers must not cross to C. They assume
 * what the loader proved (no null entry) and what the Go side checks (no null handle).
 */
#ifndef CREDENCE_BINDINGS_FORWARD_H
#define CREDENCE_BINDINGS_FORWARD_H

#include <stddef.h>
#include <stdint.h>

#include "credence_native.h"

/* A backend's table and an array of credence_slot, opaque to Go: before each call cgo searches whatever a typed
 * argument points to for Go pointers, which costs as much as the call itself. Both hold only pointers that the backend
 * gave. */
typedef struct crb_backend crb_backend;
typedef struct crb_slots crb_slots;

/* Loads the library at an absolute path and proves that it is a backend this program can use. All of it is one call:
 * dlerror() is per thread, and a goroutine may change threads between two calls. Returns NULL and fills err, or the
 * table. Never unloads a backend that was accepted. */
const credence_backend *crb_load(const char *path, credence_error *err);

/* Path of the object file that contains this code as the dynamic linker knows it, or NULL. For the main program that is
 * argv[0], which may mean nothing. The address is that of this code. */
const char *crb_self(uintptr_t *address);

int32_t crb_device_count(const crb_backend *, int32_t *count, credence_error *);
int32_t crb_device_open(const crb_backend *, int32_t index, int32_t threads, credence_device **out, credence_error *);
void crb_device_close(const crb_backend *, credence_device *);
int32_t crb_device_info(const crb_backend *, int32_t index, const credence_device *, credence_device_info *out,
                        credence_error *);
int32_t crb_set_option(const crb_backend *, credence_device *, const char *key, const char *value, credence_error *);

int32_t crb_buffer_alloc(const crb_backend *, credence_device *, uint64_t bytes, uint32_t flags, credence_buffer **out,
                         void **host, credence_error *);
int32_t crb_buffer_wrap(const crb_backend *, credence_device *, const void *host, uint64_t bytes, credence_buffer **out,
                        void **seen, credence_error *);
void crb_buffer_free(const crb_backend *, credence_buffer *);
int32_t crb_buffer_write(const crb_backend *, credence_stream *, credence_buffer *dst, uint64_t offset, const void *src,
                         uint64_t bytes, credence_error *);
int32_t crb_buffer_read(const crb_backend *, credence_stream *, void *dst, credence_buffer *src, uint64_t offset,
                        uint64_t bytes, credence_error *);
/* The same, done on return: with a stream they wait for it, so that no host memory is kept. */
int32_t crb_buffer_write_now(const crb_backend *, credence_stream *, credence_buffer *dst, uint64_t offset,
                             const void *src, uint64_t bytes, credence_error *);
int32_t crb_buffer_read_now(const crb_backend *, credence_stream *, void *dst, credence_buffer *src, uint64_t offset,
                            uint64_t bytes, credence_error *);
int32_t crb_buffer_copy(const crb_backend *, credence_stream *, credence_buffer *dst, uint64_t dst_offset,
                        credence_buffer *src, uint64_t src_offset, uint64_t bytes, credence_error *);

/* The parts of a credence_plan_desc. With out == NULL asks op_supported for op_index instead. */
int32_t crb_plan(const crb_backend *, credence_device *, const credence_op *ops, uint32_t n_ops,
                 const credence_tensor *tensors, uint32_t n_tensors, const credence_value *i, uint32_t n_i,
                 const credence_scalar *f, uint32_t n_f, const int64_t *iarg_min, const int64_t *iarg_max,
                 uint32_t n_iargs, uint32_t n_fargs, const uint64_t *slot_bytes, uint32_t n_slots, uint32_t op_index,
                 credence_plan **out, credence_error *);
void crb_plan_close(const crb_backend *, credence_plan *);

int32_t crb_stream_open(const crb_backend *, credence_device *, credence_stream **out, credence_error *);
void crb_stream_close(const crb_backend *, credence_stream *);
int32_t crb_stream_submit(const crb_backend *, credence_stream *, credence_plan *, uint64_t tag, const crb_slots *slots,
                          uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                          uint32_t n_fargs, credence_error *);
/* Submit and sync in one call: what a host that waits anyway pays for once. */
int32_t crb_stream_run(const crb_backend *, credence_stream *, credence_plan *, uint64_t tag, const crb_slots *slots,
                       uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs, uint32_t n_fargs,
                       credence_error *);
int32_t crb_stream_sync(const crb_backend *, credence_stream *, credence_error *);
void crb_stream_cancel(const crb_backend *, credence_stream *, uint64_t tag);
int32_t crb_stream_clock(const crb_backend *, credence_stream *, uint64_t *nanoseconds, credence_error *);

#endif
