/* credence_native.h: the ABI between the Credence host and a native backend.
 *
 * A backend is one shared library with ONE exported symbol, credence_backend_entry, which returns a versioned table of
 * functions. Operations travel as data (credence_plan_desc), so the table does not grow when an op is added: the
 * opcodes are in credence_ops.h.
 *
 * Rules a backend keeps
 *   - It never aborts, exits, prints, throws across the boundary or reads the environment.
 *   - Every failing call returns a credence_status other than CREDENCE_OK and fills the caller's credence_error.
 *     No thread-local state crosses calls: any OS thread may make any call.
 *   - Handles belong to the backend until they are freed. A handle is used after its free only by a broken host.
 *   - Structs and the table grow only at the end. The host checks `abi` first and `struct_size` before it uses a
 *     member added later. `struct_size` and `abi` never move.
 */
#ifndef CREDENCE_NATIVE_H
#define CREDENCE_NATIVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* major << 16 | minor. Another major is another ABI; a higher minor only adds at the end. */
#define CREDENCE_ABI_MAJOR 1u
#define CREDENCE_ABI_MINOR 0u
#define CREDENCE_ABI ((CREDENCE_ABI_MAJOR << 16) | CREDENCE_ABI_MINOR)

#define CREDENCE_MAX_DIMS 5

typedef enum credence_status {
  CREDENCE_OK = 0,
  CREDENCE_INVALID_ARGUMENT = 1, /* the call cannot be right: shapes, ranges, null handles */
  CREDENCE_UNSUPPORTED = 2,      /* could be right, but not here: unknown opcode, type or option */
  CREDENCE_OUT_OF_MEMORY = 3,
  CREDENCE_CANCELLED = 4,
  CREDENCE_DEVICE_LOST = 5, /* sticky: the device must be closed */
  CREDENCE_NO_DEVICE = 6,   /* the backend works, the machine has no device for it */
  CREDENCE_INTERNAL = 7,
  CREDENCE_FAULT = 8 /* injected by set_option("fault.*") in a test build */
} credence_status;

/* Owned by the caller. msg is always NUL-terminated. native_code: the vendor's own error number, else 0. */
typedef struct credence_error {
  int32_t code, native_code;
  char msg[248];
} credence_error;

/* Permanent numbers. Q8_0 and Q4_0 are blocks of 32 elements along the innermost dimension (34 and 18 bytes). */
typedef enum credence_dtype {
  CREDENCE_F32 = 1,
  CREDENCE_F64 = 2,
  CREDENCE_F16 = 3,
  CREDENCE_BF16 = 4,
  CREDENCE_I32 = 5,
  CREDENCE_I64 = 6,
  CREDENCE_U8 = 7,
  CREDENCE_Q8_0 = 8,
  CREDENCE_Q4_0 = 9
} credence_dtype;

/* An integer that may depend on an argument of the submission: arg < 0: value; else value * iargs[arg]. */
typedef struct credence_value {
  int64_t value;
  int32_t arg, reserved;
} credence_value;

/* A number that may depend on an argument of the submission: arg < 0: value; else value * fargs[arg]. */
typedef struct credence_scalar {
  double value;
  int32_t arg, reserved;
} credence_scalar;

/* Element (i0..) lies at slots[slot] + base + offset + sum(i_k * stride[k]) bytes. Strides are constants (0 =
 * broadcast). Dimensions are in elements; a block-quantised type is contiguous along its innermost dimension, which is
 * a multiple of the block. ndim 0 is a scalar. base, offset, strides and the address bound to the slot are multiples of
 * the element's size (2 for block types). flags is 0, as is every member called reserved. */
typedef struct credence_tensor {
  int32_t slot, dtype, ndim, flags;
  int64_t base;
  credence_value offset, dim[CREDENCE_MAX_DIMS];
  int64_t stride[CREDENCE_MAX_DIMS];
} credence_tensor;

/* One operation: indices into the plan's tables. Its tensors are, in order, n_in inputs (read), n_out outputs
 * (written, never read) and n_inout updated in place; then n_i integer and n_f scalar attributes. An output may be the
 * very same memory and layout as an input only where credence_ops.h says so. */
typedef struct credence_op {
  uint32_t opcode, n_in, n_out, n_inout, n_i, n_f, first_tensor, first_i, first_f;
} credence_op;

/* A plan names slots, not buffers, so that many streams run one plan over their own memory. */
typedef struct credence_plan_desc {
  uint32_t struct_size, n_ops, n_tensors, n_i, n_f, n_slots, n_iargs, n_fargs;
  const credence_op *ops;
  const credence_tensor *tensors;
  const credence_value *i;
  const credence_scalar *f;
  const int64_t *iarg_min, *iarg_max; /* inclusive range of each integer argument */
  const uint64_t *slot_bytes;         /* least size of the memory bound to each slot at submit */
} credence_plan_desc;

typedef struct credence_device credence_device;
typedef struct credence_buffer credence_buffer;
typedef struct credence_plan credence_plan;
typedef struct credence_stream credence_stream;

/* Memory bound to a slot of a plan: bytes [offset, offset + size) of a buffer. */
typedef struct credence_slot {
  credence_buffer *buffer;
  uint64_t offset, size;
} credence_slot;

typedef struct credence_device_info {
  uint32_t struct_size;
  int32_t index;                      /* within the backend, from 0 */
  char name[128];                     /* as the vendor names it */
  char uuid[64];                      /* vendor's identifier, empty for a CPU */
  char arch[64];                      /* "avx512", "avx2", "generic", "neon", "sm_90" ... what kernels were chosen */
  char detail[256];                   /* one line for a person: libraries and versions in use, self-test results */
  uint64_t memory_total, memory_free; /* bytes; 0 = unknown */
  int32_t compute_units;              /* CPU: threads in use; GPU: multiprocessors */
  int32_t integrated_memory;          /* 1: buffer_host works on every buffer */
} credence_device_info;

enum { CREDENCE_BUFFER_DEVICE = 0, CREDENCE_BUFFER_PINNED_HOST = 1 };

typedef struct credence_backend {
  uint32_t struct_size, abi;
  const char *name;  /* "cpu", "cuda" */
  const char *build; /* one line: version, compiler, libraries */

  /* devices. device_count returns CREDENCE_NO_DEVICE with the true reason when there is none. */
  int32_t (*device_count)(int32_t *count, credence_error *err);
  int32_t (*device_open)(int32_t index, int32_t threads, credence_device **out, credence_error *err);
  void (*device_close)(credence_device *);
  int32_t (*device_info)(int32_t index, const credence_device *device_or_null, credence_device_info *out,
                         credence_error *err);
  /* key=value before any stream is opened: "cpu_isa" = auto|generic|avx2|avx512, "math" = strict|tf32, "fault.*". */
  int32_t (*set_option)(credence_device *, const char *key, const char *value, credence_error *err);

  /* memory. Buffers are at least 64-byte aligned and zero-filled when allocated. */
  int32_t (*buffer_alloc)(credence_device *, uint64_t bytes, uint32_t flags, credence_buffer **out,
                          credence_error *err);
  /* Read-only view of host memory that outlives the buffer (a mapped weight file); a device may copy it. */
  int32_t (*buffer_wrap)(credence_device *, const void *host, uint64_t bytes, credence_buffer **out,
                         credence_error *err);
  void (*buffer_free)(credence_buffer *);
  void *(*buffer_host)(credence_buffer *); /* host address, or NULL where the host cannot see the memory */
  /* Copies are ordered after the stream's earlier work and complete when stream_sync returns; with a NULL stream they
   * are complete on return. buffer_write has read its source when it returns; the memory that buffer_read fills must
   * stay put until the copy is complete. */
  int32_t (*buffer_write)(credence_stream *, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                          credence_error *err);
  int32_t (*buffer_read)(credence_stream *, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                         credence_error *err);
  int32_t (*buffer_copy)(credence_stream *, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                         uint64_t src_offset, uint64_t bytes, credence_error *err);

  /* plans. plan_open copies the description and proves shapes, bounds and scratch at the arguments' maxima. */
  int32_t (*op_supported)(credence_device *, const credence_plan_desc *, uint32_t op_index, credence_error *err);
  int32_t (*plan_open)(credence_device *, const credence_plan_desc *, credence_plan **out, credence_error *err);
  void (*plan_close)(credence_plan *);

  /* work. One stream is used by one thread at a time, except stream_cancel, which any thread may call at any time.
   * stream_submit copies slots and arguments before it returns. `tag` names the submission: never 0, and greater than
   * all earlier tags of the stream; stream_cancel(tag) stops that submission, running or still to come, and no other.
   * Errors found late are reported by stream_sync. */
  int32_t (*stream_open)(credence_device *, credence_stream **out, credence_error *err);
  void (*stream_close)(credence_stream *);
  int32_t (*stream_submit)(credence_stream *, credence_plan *, uint64_t tag, const credence_slot *slots,
                           uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                           uint32_t n_fargs, credence_error *err);
  int32_t (*stream_sync)(credence_stream *, credence_error *err);
  void (*stream_cancel)(credence_stream *, uint64_t tag);
  /* Stream-ordered time in nanoseconds since the stream was opened, for benchmarks (GPU: an event). */
  int32_t (*stream_clock)(credence_stream *, uint64_t *nanoseconds, credence_error *err);
} credence_backend;

/* The one exported symbol. */
const credence_backend *credence_backend_entry(void);

#ifdef __cplusplus
}
#endif
#endif
