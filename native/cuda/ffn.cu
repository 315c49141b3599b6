/* SPARSE_FFN and SPARSE_FFN_GATED: a feed-forward block that reads the rows of inactive neurons of the second and third
 * matrix only where that is faster, with the same result to the bit; and its second and third step by themselves,
 * MASKED_LINEAR and SPARSE_LINEAR. ffn.cuh has the steps:
 *
 *   gate    linear.cu: dense, with the activation and the mask of needed neurons as its epilogue
 *   select  only for the k largest and for the cutoff, which need a whole row; and the mask then, as for many rows
 *   up      ffn_up.cu: products with the needed rows of up, times the gate's values
 *   down    ffn_down.cu: sums of the needed rows of down
 *
 * For up to eight rows of x and no selection those are three launches, and two without up. */
#include "ffn.cuh"

namespace {

const float *floats(const cr_tensor *t) { return reinterpret_cast<const float *>(t->data); }
float *floats_out(const cr_tensor *t) { return reinterpret_cast<float *>(t->data); }
int32_t *integers_out(const cr_tensor *t) { return reinterpret_cast<int32_t *>(t->data); }

constexpr size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

struct space {
  uint32_t *mask;
  int32_t *dense;
  float *grouped;
};

/* Scratch for rows of neurons; with `at`, places it. */
size_t place(char *at, int64_t rows, int64_t neurons, space *s) {
  const size_t mask = aligned(static_cast<size_t>(cu_mask_words(neurons)) * sizeof(uint32_t));
  if (s != nullptr) {
    s->mask = reinterpret_cast<uint32_t *>(at);
    s->dense = reinterpret_cast<int32_t *>(at + mask);
    s->grouped = reinterpret_cast<float *>(at + mask + aligned(sizeof(int32_t)));
  }
  return mask + aligned(sizeof(int32_t)) + cu_down_scratch(rows, neurons);
}

void scratch_of(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->shared = place(nullptr, call->in[0].dim[0], call->in[1].dim[0], nullptr);
}

/* The gate's values after activation and selection, and the mask of those that are not 0. */
int32_t run_gate(const cr_call *call, const cr_ctx *ctx, const float *bias, const space *s, credence_error *err) {
  const cr_tensor *x = &call->in[0], *w = &call->in[1];
  const int32_t act = static_cast<int32_t>(call->i[0]), select = static_cast<int32_t>(call->i[2]);
  const bool direct = select == CU_SELECT_ALL && x->dim[0] > 0 && x->dim[0] <= CU_DOT_MOST &&
                      (x->dim[0] == 1 || x->dim[1] <= CU_DOT_LONGEST);
  cu_linear gate = {};
  gate.x = floats(x);
  gate.w = w->data;
  gate.dtype = w->dtype;
  gate.act = select == CU_SELECT_CUTOFF ? static_cast<int32_t>(CREDENCE_ACT_NONE) : act;
  gate.bias = bias;
  gate.y = floats_out(&call->out[1]);
  gate.m = x->dim[0];
  gate.k = x->dim[1];
  gate.n = w->dim[0];
  gate.p = cu_scalar(ctx, 0);
  gate.needed = direct ? s->mask : nullptr;
  int32_t status = cu_linear_run(ctx, &gate, err);
  if (status != CREDENCE_OK || direct) return status;
  if (select != CU_SELECT_ALL) {
    cu_select job = {};
    job.values = gate.y;
    job.mask = gate.m == 1 ? s->mask : nullptr;
    job.rows = gate.m;
    job.neurons = gate.n;
    job.k = call->i[3];
    job.select = select;
    job.act = act;
    job.p = gate.p;
    job.z = cu_scalar(ctx, 1);
    status = cu_select_run(ctx, &job, err);
    if (status != CREDENCE_OK || job.mask != nullptr) return status;
  }
  return cu_mark_run(ctx, gate.y, gate.m, gate.n, s->mask, nullptr, err);
}

int32_t run_ffn(const cr_call *call, const cr_ctx *ctx, bool gated, credence_error *err) {
  const cr_tensor *x = &call->in[0], *down = &call->in[gated ? 3 : 2];
  const int64_t rows = x->dim[0], d = x->dim[1], f = call->in[1].dim[0];
  const cr_tensor *bias = call->n_in > (gated ? 4u : 3u) ? down + 1 : nullptr; /* of the gate, of up, of down */
  const bool both = call->i[1] != 0;
  float *hidden = floats_out(&call->out[1]);
  int32_t *read = integers_out(&call->out[3]);
  space s;
  place(ctx->scratch, rows, f, &s);
  const cu_needed needed = {s.mask, nullptr, rows, f, cu_scalar(ctx, 2)};
  int32_t status = run_gate(call, ctx, bias != nullptr ? floats(bias) : nullptr, &s, err);
  if (status == CREDENCE_OK && gated) {
    cu_up job = {};
    job.needed = needed;
    job.x = floats(x);
    job.w = call->in[2].data;
    job.dtype = call->in[2].dtype;
    job.act = both ? static_cast<int32_t>(call->i[0]) : static_cast<int32_t>(CREDENCE_ACT_NONE);
    job.bias = bias != nullptr ? floats(bias + 1) : nullptr;
    job.s = hidden;
    job.y = hidden;
    job.d = d;
    job.p = cu_scalar(ctx, 0);
    job.read = read;
    job.dense = s.dense;
    status = cu_up_run(ctx, &job, err);
    if (status == CREDENCE_OK && both) status = cu_mark_run(ctx, hidden, rows, f, s.mask, nullptr, err);
  }
  if (status != CREDENCE_OK) return status;
  cu_down job = {};
  job.needed = needed;
  job.h = hidden;
  job.w = down->data;
  job.dtype = down->dtype;
  job.bias = bias != nullptr ? floats(&call->in[call->n_in - 1]) : nullptr;
  job.y = floats_out(&call->out[0]);
  job.d = d;
  job.grouped = s.grouped;
  job.dense = gated ? s.dense : nullptr;
  job.read = read + 1;
  job.not_read = gated ? nullptr : read;
  job.count = integers_out(&call->out[2]);
  return cu_down_run(ctx, &job, err);
}

int32_t run_plain(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_ffn(call, ctx, false, err);
}
int32_t run_gated(const cr_call *call, const cr_ctx *ctx, credence_error *err) { return run_ffn(call, ctx, true, err); }

/* ---- the steps by themselves ---- */

/* Which of the values are not 0: each block of the step looks for itself where they are few. */
int32_t find_needed(const cr_ctx *ctx, const float *values, int64_t rows, int64_t f, const space *s, cu_needed *needed,
                    credence_error *err) {
  *needed = {nullptr, values, rows, f, cu_scalar(ctx, 0)};
  if ((rows > 1 ? rows : 1) * f <= CU_NEEDED_DIRECT) return CREDENCE_OK;
  needed->mask = s->mask;
  return cu_mark_run(ctx, values, rows, f, s->mask, nullptr, err);
}

int32_t run_masked(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *w = &call->in[1];
  space s;
  place(ctx->scratch, x->dim[0], w->dim[0], &s);
  cu_up job = {};
  int32_t status = find_needed(ctx, floats(&call->in[2]), x->dim[0], w->dim[0], &s, &job.needed, err);
  if (status != CREDENCE_OK) return status;
  job.x = floats(x);
  job.w = w->data;
  job.dtype = w->dtype;
  job.act = CREDENCE_ACT_NONE;
  job.s = floats(&call->in[2]);
  job.y = floats_out(&call->out[0]);
  job.d = w->dim[1];
  job.read = integers_out(&call->out[1]);
  return cu_up_run(ctx, &job, err);
}

int32_t run_sparse(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *h = &call->in[0], *w = &call->in[1];
  space s;
  place(ctx->scratch, h->dim[0], w->dim[0], &s);
  cu_down job = {};
  int32_t status = find_needed(ctx, floats(h), h->dim[0], w->dim[0], &s, &job.needed, err);
  if (status != CREDENCE_OK) return status;
  job.h = floats(h);
  job.w = w->data;
  job.dtype = w->dtype;
  job.bias = call->n_in > 2 ? floats(&call->in[2]) : nullptr;
  job.y = floats_out(&call->out[0]);
  job.d = w->dim[1];
  job.grouped = s.grouped;
  job.read = integers_out(&call->out[1]);
  return cu_down_run(ctx, &job, err);
}

}  // namespace

CU_FAMILY(ffn, {CREDENCE_OP_SPARSE_FFN, scratch_of, run_plain, 0, nullptr},
          {CREDENCE_OP_SPARSE_FFN_GATED, scratch_of, run_gated, 0, nullptr},
          {CREDENCE_OP_MASKED_LINEAR, scratch_of, run_masked, 0, nullptr},
          {CREDENCE_OP_SPARSE_LINEAR, scratch_of, run_sparse, 0, nullptr})
