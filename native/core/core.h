/* core.h: what the backends share: plans, the proofs about them, and submissions resolved to addresses and values. Each
 * backend's device, buffer and stream begin with the structs here and add what they need behind (cpu/device.h,
 * cuda/device.h). */
#ifndef CREDENCE_CORE_CORE_H
#define CREDENCE_CORE_CORE_H

#include <stdatomic.h>

#include "call.h"

/* Fault injection for tests: n operations succeed, the next one fails, once; a negative count is off. */
typedef struct cr_faults {
  _Atomic int64_t alloc, op, cancel, lost;
} cr_faults;

#ifdef CREDENCE_FAULTS
static inline bool cr_fault(_Atomic int64_t *count) {
  return atomic_load_explicit(count, memory_order_relaxed) >= 0 && atomic_fetch_sub(count, 1) == 0;
}
#else
static inline bool cr_fault(_Atomic int64_t *count) {
  (void)count;
  return false;
}
#endif

/* Buffers, plans and streams hold references: the device goes when the last of them and the host have let go, so the
 * order in which a host closes things does not matter. */
struct credence_device {
  _Atomic int32_t refs;
  _Atomic int32_t lost;    /* sticky */
  _Atomic int32_t planned; /* a plan was opened: options that plans depend on are settled */
  int32_t threads;
  const char *backend;                /* "cpu": for messages */
  void (*destroy)(credence_device *); /* when nobody holds it any more */
  /* CREDENCE_OK, or DEVICE_LOST with the reason. NULL: only a fault that a test asked for loses it */
  int32_t (*alive)(credence_device *, credence_error *err);
  cr_faults faults;
  const cr_op_row *rows[CREDENCE_OP_LIMIT]; /* by opcode; NULL: not implemented */
};

struct credence_buffer {
  credence_device *device;
  char *data; /* as the device addresses it */
  uint64_t bytes;
  bool read_only; /* wrapped host memory */
};

typedef struct cr_plan_op {
  const cr_op_row *row;
  cr_rule_fn rule;
  uint32_t first_tensor, n_in, n_out, n_inout, first_i, n_i, first_f, n_f;
  size_t scratch_shared, scratch_per_thread;
} cr_plan_op;

typedef struct cr_plan_slot {
  uint64_t bytes;
  uint32_t align; /* of the address bound to the slot: the largest element that lies there */
  bool written;
} cr_plan_slot;

/* A proven description. The lists name what depends on the submission's arguments. */
struct credence_plan {
  credence_device *device;
  uint64_t id; /* never reused: streams keep resolved submissions by it */
  uint32_t n_ops, n_tensors, n_i, n_f, n_slots, n_iargs, n_fargs;
  uint32_t n_moving, n_i_args, n_f_args, n_reshaped, n_recheck;
  size_t scratch; /* bytes a stream needs */
  cr_plan_op *ops;
  credence_tensor *tensors;
  credence_value *i;
  credence_scalar *f;
  int64_t *iarg_min, *iarg_max;
  cr_plan_slot *slots;
  uint32_t *moving;   /* tensors with an argument */
  uint32_t *i_args;   /* integer attributes with an argument */
  uint32_t *f_args;   /* scalar attributes with an argument */
  uint32_t *reshaped; /* ops with such tensors */
  uint32_t *recheck;  /* ops whose integer attributes depend on arguments: checked again when those change */
};

/* An op ready to run. */
typedef struct cr_step {
  cr_run_fn run;
  size_t scratch_shared, scratch_per_thread;
  cr_call call;
} cr_step;

/* A plan as last submitted on a stream: memory and arguments resolved. */
typedef struct cr_binding {
  uint64_t plan_id; /* 0: none */
  uint64_t used;    /* for choosing the one to drop */
  uint64_t version; /* grows whenever an address or an integer of the submission changes */
  bool resolved;
  char **base;
  int64_t *iargs;
  cr_tensor *tensors;
  cr_step *steps;
  int64_t *i;
  double *f;
  void *attached; /* what a backend keeps with it */
  void (*detach)(void *attached);
} cr_binding;

#define CR_BINDINGS 8

struct credence_stream {
  credence_device *device;
  uint64_t last_tag, uses;
  cr_binding *current;
  cr_binding *bindings[CR_BINDINGS];
  _Alignas(64) _Atomic uint64_t cancel; /* greatest tag that was cancelled; written by other threads */
};

/* ---- memory.c: the core's own tables, in host memory ---- */
/* Zero-filled, 64-byte aligned; NULL with *err filled. Counts as an allocation for fault.alloc. */
void *cr_alloc(credence_device *device, size_t bytes, const char *what, credence_error *err);
void cr_free(void *p);
/* Adds n elements of size bytes, rounded up to 64, to *total; false on overflow. */
bool cr_size_add(size_t *total, uint64_t n, size_t size);
/* The next n elements of a block that cr_size_add measured. */
void *cr_take(char **at, uint64_t n, size_t size);

/* ---- device.c ---- */
/* Of a device that is all zero: one reference, no faults. The backend fills rows. */
void cr_device_init(credence_device *, const char *backend, int32_t threads, void (*destroy)(credence_device *));
void cr_device_retain(credence_device *);
void cr_device_release(credence_device *);
/* CREDENCE_OK, or DEVICE_LOST with *err filled. */
int32_t cr_device_alive(credence_device *, credence_error *err);
/* Options "fault.*". */
int32_t cr_set_fault(credence_device *device, const char *key, const char *value, credence_error *err);
/* The arguments of the ABI's functions of these names; *out becomes NULL. */
int32_t cr_check_buffer_alloc(credence_device *, uint32_t flags, credence_buffer **out, credence_error *err);
int32_t cr_check_buffer_wrap(credence_device *, const void *host, uint64_t bytes, credence_buffer **out,
                             credence_error *err);
/* Bytes [offset, offset + bytes) of a buffer, for a copy that writes it or not, on a stream or none. */
int32_t cr_check_copy(const char *call, const credence_stream *stream, const credence_buffer *b, uint64_t offset,
                      uint64_t bytes, bool write, credence_error *err);

/* ---- names.c ---- */
const char *cr_op_name(uint32_t opcode); /* NULL: unknown */
bool cr_op_in_place(uint32_t opcode);    /* output 0 may be input 0 */

/* ---- error.c ---- */
/* Puts "op 3, matmul: " before the message and makes sure that the error says something; returns status. */
int32_t cr_name_op(uint32_t index, uint32_t opcode, int32_t status, credence_error *err);
static inline void cr_clear(credence_error *err) {
  if (err == NULL) return;
  err->code = CREDENCE_OK;
  err->msg[0] = '\0';
}

/* ---- validate.c ---- */
enum { CR_MAX_TENSORS = 64, CR_MAX_ATTRIBUTES = 64 }; /* of one op */
/* The description's counts, the ranges of its arguments and the sizes of its slots. The others rely on it. */
int32_t cr_validate_arguments(const credence_plan_desc *desc, credence_error *err);
/* All tensors and attributes, used or not: every tensor lies in its slot for all arguments. */
int32_t cr_validate_tables(const credence_plan_desc *desc, credence_error *err);
/* Op k: it names existing tensors and attributes, which are right, and its outputs overlap nothing they must not. */
int32_t cr_validate_op(const credence_plan_desc *desc, uint32_t k, credence_error *err);
int32_t cr_dtype_align(int32_t dtype); /* alignment of an element in bytes, 0 for an unknown type */

/* ---- native/rules/rules.c ---- */
cr_rule_fn cr_op_rule(uint32_t opcode); /* NULL: unknown */

/* ---- plan.c: the ABI's functions of these names ---- */
/* Asks an op's rule, and the backend's row for the scratch of a call that the rule accepts. */
int32_t cr_ask_op(const cr_op_row *row, cr_rule_fn rule, const cr_call *call, int32_t threads, cr_scratch *scratch,
                  credence_error *err);
int32_t cr_op_supported(credence_device *, const credence_plan_desc *, uint32_t op_index, credence_error *err);
int32_t cr_plan_open(credence_device *, const credence_plan_desc *, credence_plan **out, credence_error *err);
void cr_plan_close(credence_plan *);
static inline int64_t cr_value_at(credence_value v, const int64_t *iargs) {
  return v.arg < 0 ? v.value : v.value * iargs[v.arg];
}
static inline double cr_scalar_at(credence_scalar v, const double *fargs) {
  return v.arg < 0 ? v.value : v.value * fargs[v.arg];
}
/* Type, sizes and strides of a tensor for these arguments; data is left alone. */
void cr_resolve_shape(const credence_tensor *t, const int64_t *iargs, cr_tensor *out);
/* Bytes from the start of its slot. */
static inline int64_t cr_place(const credence_tensor *t, const int64_t *iargs) {
  return t->base + cr_value_at(t->offset, iargs);
}

/* ---- binding.c ---- */
/* Checks a submission (handles, tag, counts, ranges, memory) and resolves it: the stream's binding of the plan, or NULL
 * with *err filled and the status in *status. Does not yet take the tag. */
cr_binding *cr_bind(credence_stream *, const credence_plan *, uint64_t tag, const credence_slot *slots,
                    uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs, uint32_t n_fargs,
                    int32_t *status, credence_error *err);
void cr_bindings_free(credence_stream *);
/* Tags rise, so the greatest one cancelled is all there is to know: a stale cancel changes nothing. */
void cr_stream_cancel(credence_stream *, uint64_t tag);
uint64_t cr_now(void); /* nanoseconds of the monotonic clock */

#endif
