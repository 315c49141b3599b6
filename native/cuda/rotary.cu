/* ROTARY: pairs of elements turned by an angle of their position. Angles are computed in double precision: at position
 * 100,000 a float32 angle would be off by a hundredth. A block turns some heads of one row, which share the angles. */
#include "kernel.cuh"

namespace {

constexpr int kThreads = 256, kHeads = 8;
constexpr int64_t kMostBlocks = 1 << 30;

typedef struct rotary_job {
  const float *x, *factor; /* factor may be NULL */
  float *y;
  int64_t rows, heads, d, turned;
  cu_integer_value position;
  cu_scalar_value theta, scale;
  bool pairs; /* neighbours are turned together, else elements half of the turned ones apart */
  cu_fault *fault;
  uint32_t op;
} rotary_job;

__global__ void __launch_bounds__(kThreads) turn(rotary_job a) {
  __shared__ float2 angles[kThreads]; /* cosine and sine */
  const int64_t position = a.position.get(), n = a.turned / 2, parts = (a.heads + kHeads - 1) / kHeads;
  if (position < 0) {
    if (blockIdx.x == 0 && threadIdx.x == 0) cu_record(a.fault, a.op, CREDENCE_INVALID_ARGUMENT, position, position);
    return;
  }
  for (int64_t at = blockIdx.x; at < a.rows * parts; at += gridDim.x) {
    const int64_t row = at / parts, first = at % parts * kHeads;
    const int64_t heads = first + kHeads < a.heads ? kHeads : a.heads - first;
    const float *x = a.x + (row * a.heads + first) * a.d;
    float *y = a.y + (row * a.heads + first) * a.d;
    for (int64_t from = 0; from < n; from += kThreads) {
      const int64_t some = n - from < kThreads ? n - from : kThreads;
      if (threadIdx.x < some) {
        const int64_t i = from + threadIdx.x;
        double frequency =
            a.scale.get() * pow(a.theta.get(), -2.0 * static_cast<double>(i) / static_cast<double>(a.turned));
        if (a.factor != nullptr) frequency /= static_cast<double>(a.factor[i]);
        double sine, cosine;
        sincos(static_cast<double>(position + row) * frequency, &sine, &cosine);
        angles[threadIdx.x] = make_float2(static_cast<float>(cosine), static_cast<float>(sine));
      }
      __syncthreads();
      for (int64_t k = threadIdx.x; k < heads * some; k += kThreads) {
        const int64_t i = from + k % some, head = k / some * a.d;
        const int64_t one = head + (a.pairs ? 2 * i : i), other = head + (a.pairs ? 2 * i + 1 : i + n);
        const float2 angle = angles[k % some];
        const float u = x[one], v = x[other];
        y[one] = u * angle.x - v * angle.y;
        y[other] = u * angle.y + v * angle.x;
      }
      __syncthreads();
    }
    const int64_t rest = a.d - a.turned;
    for (int64_t k = threadIdx.x; k < heads * rest; k += kThreads) {
      const int64_t i = k / rest * a.d + a.turned + k % rest;
      y[i] = x[i];
    }
  }
}

int32_t run_rotary(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0];
  rotary_job job = {};
  job.x = reinterpret_cast<const float *>(x->data);
  if (call->n_in > 1) job.factor = reinterpret_cast<const float *>(call->in[1].data);
  job.y = reinterpret_cast<float *>(call->out[0].data);
  job.rows = x->dim[0];
  job.heads = x->dim[1];
  job.d = x->dim[2];
  job.turned = call->i[2];
  job.position = cu_integer(ctx, 0);
  job.theta = cu_scalar(ctx, 0);
  job.scale = cu_scalar(ctx, 1);
  job.pairs = call->i[1] == 1;
  job.fault = ctx->fault;
  job.op = ctx->op;
  int64_t blocks = job.rows * cu_blocks(job.heads, kHeads);
  if (blocks == 0) blocks = 1; /* a negative position is an error even so */
  if (blocks > kMostBlocks) blocks = kMostBlocks;
  return cu_launch(ctx, err, turn, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, job);
}

void explain_rotary(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  (void)call, (void)at;
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "rotary: position %lld is negative", static_cast<long long>(value));
}

}  // namespace

/* The position, attribute 0, is read on the device. */
CU_FAMILY(rotary, {CREDENCE_OP_ROTARY, nullptr, run_rotary, 1, explain_rotary})
