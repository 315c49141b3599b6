/* ROTARY: pairs of elements turned by an angle of their position. Angles are computed in double precision: at position
 * 100,000 a float32 angle would be off by a hundredth. */
#include "cr.h"
#include "isa.h"
#include "rules.h"
#include "vec.h"

enum { TASK = 16384 }; /* elements of a task */

typedef struct rotary_job {
  const cr_ctx *ctx;
  const float *x;
  float *y;
  const double *frequency; /* [turned / 2] */
  int64_t rows, heads, d, turned, position, rows_per_task;
  bool pairs;
} rotary_job;

static int32_t rotary_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const rotary_job *j = arg;
  const int64_t n = j->turned / 2, from = index * j->rows_per_task;
  const int64_t to = from + j->rows_per_task < j->rows ? from + j->rows_per_task : j->rows;
  float *cosine = (float *)(void *)cr_worker_scratch(j->ctx, worker), *sine = cosine + n;
  for (int64_t t = from; t < to; t++) {
    for (int64_t i = 0; i < n; i++) {
      const double angle = (double)(j->position + t) * j->frequency[i];
      cosine[i] = (float)cos(angle);
      sine[i] = (float)sin(angle);
    }
    for (int64_t h = 0; h < j->heads; h++) {
      const float *x = j->x + (t * j->heads + h) * j->d;
      float *y = j->y + (t * j->heads + h) * j->d;
      if (j->pairs) {
        for (int64_t i = 0; i < n; i++) {
          const float a = x[2 * i], b = x[2 * i + 1];
          y[2 * i] = a * cosine[i] - b * sine[i];
          y[2 * i + 1] = a * sine[i] + b * cosine[i];
        }
      } else {
        for (int64_t i = 0; i < n; i++) {
          const float a = x[i], b = x[i + n];
          y[i] = a * cosine[i] - b * sine[i];
          y[i + n] = a * sine[i] + b * cosine[i];
        }
      }
      for (int64_t i = j->turned; i < j->d; i++) y[i] = x[i];
    }
  }
  return CREDENCE_OK;
}

static void scratch_rotary(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t turned = call->i[2];
  scratch->shared = (size_t)turned / 2 * sizeof(double);
  scratch->per_thread = (size_t)turned * sizeof(float);
}

static int32_t run_rotary(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0];
  if (call->i[0] < 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "rotary: position %lld is negative", (long long)call->i[0]);
  if (cr_count(x) == 0) return CREDENCE_OK;
  double *frequency = (double *)(void *)ctx->scratch;
  rotary_job job = {.ctx = ctx,
                    .x = (const float *)(const void *)x->data,
                    .y = (float *)(void *)call->out[0].data,
                    .frequency = frequency,
                    .rows = x->dim[0],
                    .heads = x->dim[1],
                    .d = x->dim[2],
                    .turned = call->i[2],
                    .position = call->i[0],
                    .rows_per_task = TASK / (x->dim[1] * x->dim[2]) + 1,
                    .pairs = call->i[1] == CR_ROTARY_PAIRS};
  const float *factor = call->n_in > 1 ? (const float *)(const void *)call->in[1].data : NULL;
  for (int64_t i = 0; i < job.turned / 2; i++) {
    frequency[i] = call->f[1] * pow(call->f[0], -2.0 * (double)i / (double)job.turned);
    if (factor != NULL) frequency[i] /= (double)factor[i];
  }
  const int64_t tasks = (job.rows + job.rows_per_task - 1) / job.rows_per_task;
  return cr_spread(ctx, cr_count(x), tasks, rotary_task, &job, err);
}

CR_FAMILY(rotary, {CREDENCE_OP_ROTARY, .scratch = scratch_rotary, .run = run_rotary})
