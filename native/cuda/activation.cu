/* activation.cu: activation functions and their gradients; act.cuh has the mathematics. */
#include "act.cuh"
#include "elementwise.cuh"

namespace {

template <int32_t KIND>
struct apply_of {
  static __device__ __forceinline__ float at(float u, float, float p, float) { return cu_act_apply(KIND, p, u); }
};

template <int32_t KIND>
struct grad_of {
  static __device__ __forceinline__ float at(float u, float v, float p, float) { return cu_act_grad(KIND, p, u, v); }
};

template <int32_t KIND>
struct output_of {
  static __device__ __forceinline__ float at(float u, float v, float p, float) {
    return cu_act_grad_from_output(KIND, p, u, v);
  }
};

template <template <int32_t> class OF, int IN>
int32_t run(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cu_scalar_value p = cu_scalar(ctx, 0);
  switch (call->i[0]) {
#define KIND(NAME)          \
  case CREDENCE_ACT_##NAME: \
    return ew_run<OF<CREDENCE_ACT_##NAME>, IN>(call, ctx, p, {}, err);
    KIND(RELU)
    KIND(FATRELU)
    KIND(SHIFTED_RELU)
    KIND(LEAKY_RELU)
    KIND(GELU)
    KIND(SILU)
    KIND(TANH)
    KIND(SIGMOID)
    KIND(SOFTPLUS)
    KIND(RELU_SQUARED)
    default:
      return ew_run<OF<CREDENCE_ACT_NONE>, IN>(call, ctx, p, {}, err);
  }
}

}  // namespace

CU_FAMILY(activation, {CREDENCE_OP_ACTIVATION, nullptr, run<apply_of, 1>, 0, nullptr},
          {CREDENCE_OP_ACTIVATION_GRAD, nullptr, run<grad_of, 2>, 0, nullptr},
          {CREDENCE_OP_ACTIVATION_GRAD_FROM_OUTPUT, nullptr, run<output_of, 2>, 0, nullptr})
