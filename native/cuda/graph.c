/* Running a plan: op by op the first time, and as a CUDA graph once the same addresses and shapes come again.
 *
 * A stream's binding of a plan keeps the graphs of the submissions it saw last, by what is baked into them: addresses,
 * the arguments that shapes and host-side attributes depend on, and the stream's scratch. Everything else reaches the
 * kernels through a small block of device memory (the arguments). Recording costs several times a plain run, so a
 * submission is recorded when it comes the second time. */
#include "device.h"

#include <string.h>

enum { GRAPHS = 8 };

typedef struct graph {
  uint64_t *key;        /* NULL: unused */
  cudaGraphExec_t exec; /* NULL: seen once */
  uint64_t used;
} graph;

/* What a binding keeps. */
typedef struct cu_attached {
  cu_device *device;
  cudaStream_t stream;
  uint64_t *arguments; /* device: n_iargs integers, then n_fargs scalars */
  uint64_t *stored;    /* as last stored there */
  bool any_stored;
  uint32_t n_arguments, n_key;
  uint64_t version; /* of the binding, for which `current` is right */
  uint64_t scratch_version, uses;
  bool recordable;
  bool *shapes; /* by integer argument: a shape, a place or an attribute read by the host depends on it */
  uint64_t *key;
  graph *current;
  graph graphs[GRAPHS];
} cu_attached;

static void detach(void *attached) {
  cu_attached *a = attached;
  if (a == NULL) return;
  cudaStreamSynchronize(a->stream); /* a graph must not go while it runs */
  for (int k = 0; k < GRAPHS; k++) {
    if (a->graphs[k].exec != NULL) cudaGraphExecDestroy(a->graphs[k].exec);
    cr_free(a->graphs[k].key);
  }
  cu_memory_free(a->device, a->stream, (char *)a->arguments);
  cr_free(a->stored);
  cr_free(a->shapes);
  cr_free(a->key);
  cr_free(a);
}

static void mark(bool *shapes, int32_t arg) {
  if (arg >= 0) shapes[arg] = true;
}

static void find_shapes(const credence_plan *p, bool *shapes) {
  for (uint32_t n = 0; n < p->n_moving; n++) {
    const credence_tensor *t = &p->tensors[p->moving[n]];
    mark(shapes, t->offset.arg);
    for (int32_t k = 0; k < t->ndim; k++) mark(shapes, t->dim[k].arg);
  }
  for (uint32_t k = 0; k < p->n_ops; k++)
    for (uint32_t i = 0; i < p->ops[k].n_i; i++)
      if ((p->ops[k].row->value_ints >> i & 1) == 0) mark(shapes, p->i[p->ops[k].first_i + i].arg);
}

static int32_t attach(cu_stream *s, cr_binding *b, const credence_plan *p, credence_error *err) {
  if (b->attached != NULL) return CREDENCE_OK;
  credence_device *device = s->base.device;
  cu_attached *a = cr_alloc(device, sizeof *a, "a submission's graphs", err);
  if (a == NULL) return CREDENCE_OUT_OF_MEMORY;
  a->device = cu_device_of(device);
  a->stream = s->stream;
  a->n_arguments = p->n_iargs + p->n_fargs;
  a->n_key = 1 + p->n_slots + p->n_iargs;
  a->recordable = a->device->graphs && p->n_ops > 0;
  a->stored = cr_alloc(device, a->n_arguments * sizeof *a->stored, "a submission's arguments", err);
  if (a->stored != NULL) a->shapes = cr_alloc(device, p->n_iargs * sizeof *a->shapes, "a submission's arguments", err);
  if (a->shapes != NULL) a->key = cr_alloc(device, a->n_key * sizeof *a->key, "a graph's key", err);
  int32_t status = a->key == NULL ? CREDENCE_OUT_OF_MEMORY : CREDENCE_OK;
  if (status == CREDENCE_OK && a->n_arguments > 0)
    status = cu_memory_alloc(a->device, s->stream, a->n_arguments * sizeof *a->stored, "a submission's arguments",
                             (char **)&a->arguments, err);
  if (status != CREDENCE_OK) {
    detach(a);
    return status;
  }
  find_shapes(p, a->shapes);
  b->attached = a;
  b->detach = detach;
  return CREDENCE_OK;
}

static int32_t store_arguments(cu_stream *s, cu_attached *a, const cr_binding *b, const credence_plan *p,
                               const double *fargs, credence_error *err) {
  bool same = a->any_stored;
  for (uint32_t k = 0; k < a->n_arguments; k++) {
    uint64_t bits;
    if (k < p->n_iargs)
      memcpy(&bits, &b->iargs[k], sizeof bits);
    else
      memcpy(&bits, &fargs[k - p->n_iargs], sizeof bits);
    same = same && bits == a->stored[k];
    a->stored[k] = bits;
  }
  if (same || a->n_arguments == 0) return CREDENCE_OK;
  a->any_stored = false;
  int32_t status = cu_store_arguments(s->stream, a->arguments, a->stored, a->n_arguments, err);
  a->any_stored = status == CREDENCE_OK;
  return status;
}

#ifdef CREDENCE_FAULTS
/* Faults that a test asked for: before op k. */
static int32_t inject(cu_stream *s, uint64_t tag, uint32_t k, credence_error *err) {
  cr_faults *faults = &s->base.device->faults;
  if (cr_fault(&faults->cancel)) cr_stream_cancel(&s->base, tag);
  if (cr_fault(&faults->lost)) {
    atomic_store(&s->base.device->lost, 1);
    return cr_device_alive(s->base.device, err);
  }
  if (cr_fault(&faults->op)) return cr_fail(err, CREDENCE_FAULT, "op %u failed (injected)", k);
  return CREDENCE_OK;
}

static bool injecting(cu_stream *s) {
  const cr_faults *faults = &s->base.device->faults;
  return atomic_load(&faults->op) >= 0 || atomic_load(&faults->cancel) >= 0 || atomic_load(&faults->lost) >= 0;
}
#else
static int32_t inject(cu_stream *s, uint64_t tag, uint32_t k, credence_error *err) {
  (void)s, (void)tag, (void)k, (void)err;
  return CREDENCE_OK;
}

static bool injecting(cu_stream *s) {
  (void)s;
  return false;
}
#endif

static int32_t cancelled(const credence_plan *p, uint32_t k, credence_error *err) {
  cr_fail(err, CREDENCE_CANCELLED, "cancelled");
  return cr_name_op(k, p->ops[k].row->opcode, CREDENCE_CANCELLED, err);
}

static bool is_cancelled(cu_stream *s, uint64_t tag) {
  return atomic_load_explicit(&s->base.cancel, memory_order_relaxed) == tag;
}

/* Enqueues op after op; while recording nothing runs, so there is nothing to cancel. */
static int32_t enqueue(cu_stream *s, const cr_binding *b, const credence_plan *p, uint64_t tag, bool recording,
                       credence_error *err) {
  const cu_attached *a = b->attached;
  cu_device *d = a->device;
  cr_ctx ctx = {.stream = s->stream,
                .blas = s->blas,
                .scratch = s->scratch,
                .fault = s->fault,
                .iargs = (const int64_t *)(const void *)a->arguments,
                .fargs = (const double *)(const void *)(a->arguments + p->n_iargs),
                .multiprocessors = d->multiprocessors,
                .l2_bytes = d->l2_bytes,
                .tf32 = d->tf32};
  bool faults = false;
  cr_clear(err);
  for (uint32_t k = 0; k < p->n_ops; k++) {
    const cr_plan_op *op = &p->ops[k];
    int32_t status = recording ? CREDENCE_OK : inject(s, tag, k, err);
    if (status != CREDENCE_OK) return status;
    if (!recording && is_cancelled(s, tag)) return cancelled(p, k, err);
    ctx.op = k;
    ctx.i = p->i + op->first_i;
    ctx.f = p->f + op->first_f;
    status = b->steps[k].run(&b->steps[k].call, &ctx, err);
    if (status != CREDENCE_OK) {
      if (status == CREDENCE_DEVICE_LOST && err != NULL)
        cu_check(d, "an operation", (cudaError_t)err->native_code, NULL);
      return cr_name_op(k, op->row->opcode, status, err);
    }
    faults = faults || op->row->explain != NULL;
  }
  if (!faults) return CREDENCE_OK;
  return cu_check(d, "a copy from the device",
                  cudaMemcpyAsync(s->fault_seen, s->fault, sizeof *s->fault, cudaMemcpyDeviceToHost, s->stream), err);
}

/* The entry for the submission as it is now bound; a new one takes the place of the one unused for longest. NULL: no
 * memory, and then the plan just runs. */
static graph *find_graph(cu_stream *s, cu_attached *a, const cr_binding *b, const credence_plan *p) {
  if (a->current != NULL && a->version == b->version && a->scratch_version == s->scratch_version) return a->current;
  uint64_t *key = a->key;
  key[0] = p->scratch == 0 ? 0 : s->scratch_version;
  for (uint32_t k = 0; k < p->n_slots; k++) key[1 + k] = (uint64_t)(uintptr_t)b->base[k];
  for (uint32_t k = 0; k < p->n_iargs; k++) key[1 + p->n_slots + k] = a->shapes[k] ? (uint64_t)b->iargs[k] : 0;
  const size_t bytes = a->n_key * sizeof *key;
  graph *found = NULL, *oldest = &a->graphs[0];
  for (int k = 0; k < GRAPHS && found == NULL; k++) {
    graph *g = &a->graphs[k];
    if (g->key != NULL && memcmp(g->key, key, bytes) == 0) found = g;
    if (oldest->key != NULL && (g->key == NULL || g->used < oldest->used)) oldest = g;
  }
  if (found == NULL) {
    found = oldest;
    if (found->key == NULL && (found->key = cr_alloc(NULL, bytes, "a graph's key", NULL)) == NULL) return NULL;
    memcpy(found->key, key, bytes);
    if (found->exec != NULL) {
      cudaStreamSynchronize(s->stream); /* it may be running */
      cudaGraphExecDestroy(found->exec);
      found->exec = NULL;
    }
    found->used = 0;
  }
  a->current = found;
  a->version = b->version;
  a->scratch_version = s->scratch_version;
  return found;
}

/* Records the plan into g->exec; CREDENCE_OK with no exec where this plan cannot be recorded. */
static int32_t record(cu_stream *s, cu_attached *a, graph *g, const cr_binding *b, const credence_plan *p, uint64_t tag,
                      credence_error *err) {
  if (cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    cudaGetLastError();
    a->recordable = false;
    return CREDENCE_OK;
  }
  int32_t status = enqueue(s, b, p, tag, true, err);
  cudaGraph_t captured = NULL;
  cudaError_t error = cudaStreamEndCapture(s->stream, &captured);
  if (status == CREDENCE_OK && error == cudaSuccess) error = cudaGraphInstantiateWithFlags(&g->exec, captured, 0);
  if (captured != NULL) cudaGraphDestroy(captured);
  if (status == CREDENCE_DEVICE_LOST || (status == CREDENCE_OK && error == cudaSuccess)) return status;
  cudaGetLastError();
  g->exec = NULL;
  a->recordable = false; /* what really is wrong shows when the plan runs without a graph */
  return CREDENCE_OK;
}

int32_t cu_run_plan(cu_stream *s, cr_binding *b, const credence_plan *p, uint64_t tag, const double *fargs,
                    credence_error *err) {
  int32_t status = attach(s, b, p, err);
  if (status != CREDENCE_OK) return status;
  cu_attached *a = b->attached;
  if (p->n_ops > 0 && is_cancelled(s, tag)) return cancelled(p, 0, err);
  status = store_arguments(s, a, b, p, fargs, err);
  if (status != CREDENCE_OK) return status;
  if (!a->recordable || injecting(s)) return enqueue(s, b, p, tag, false, err);
  graph *g = find_graph(s, a, b, p);
  if (g == NULL) return enqueue(s, b, p, tag, false, err);
  const bool again = g->used != 0;
  g->used = ++a->uses;
  if (again && g->exec == NULL) status = record(s, a, g, b, p, tag, err);
  if (status != CREDENCE_OK) return status;
  if (g->exec == NULL) return enqueue(s, b, p, tag, false, err);
  return cu_check(a->device, "cudaGraphLaunch", cudaGraphLaunch(g->exec, s->stream), err);
}
