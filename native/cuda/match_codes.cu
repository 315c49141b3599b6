/* match_codes.cu: codes of support rows, as match_coded takes them: for a support that goes to a CPU, which reads them
 * in place of the rows where queries are few. The limits and the rounding are those of cpu/match_coded.c. */
#include "match.cuh"

using cu_sq::kWarp;

namespace cu_match {
namespace {

constexpr int kFlat = 256;

/* A row less the centre, d elements, by a warp. */
__global__ void __launch_bounds__(kFlat)
    code_rows(cu_sq::rows y, const float *centre, int64_t d, unsigned char *code, float *fit) {
  const int lane = threadIdx.x % 32;
  const int64_t step = gridDim.x * static_cast<int64_t>(kFlat / 32);
  for (int64_t i = (blockIdx.x * static_cast<int64_t>(kFlat) + threadIdx.x) / 32; i < y.n; i += step) {
    const float *row = y.row(i);
    float most = 0, all = 0;
    for (int64_t k = lane; k < d; k += 32) {
      const float v = row[k] - centre[k];
      most = fmaxf(most, fabsf(v));
      all = fmaf(v, v, all);
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      most = fmaxf(most, __shfl_xor_sync(kWarp, most, lanes));
      all += __shfl_xor_sync(kWarp, all, lanes);
    }
    const bool usable = all < kHuge; /* else the codes are of nothing, and the bound is Inf */
    const float scale = usable && most > 1e-30f ? most / 127 : 0, inverse = usable && most > 1e-30f ? 127 / most : 0;
    double rest = 0;
    for (int64_t k = lane; k < d; k += 32) {
      const float v = row[k] - centre[k], whole = usable ? rintf(v * inverse) : 0;
      const double left = static_cast<double>(v) - static_cast<double>(scale) * static_cast<double>(whole);
      rest += left * left;
      code[i * d + k] = static_cast<unsigned char>(128 + static_cast<int>(whole));
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) rest += __shfl_xor_sync(kWarp, rest, lanes);
    if (lane == 0) {
      const double radius = sqrt(rest * 1.001) + 0x1p-22 * sqrt(static_cast<double>(all) * 1.001) + 1e-17;
      fit[2 * i] = scale;
      fit[2 * i + 1] = usable ? static_cast<float>(radius * (1 + 1e-6)) : __int_as_float(0x7f800000);
    }
  }
}

}  // namespace

int32_t run_codes(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor &y = call->in[0];
  const int64_t blocks = cu_blocks(y.dim[0], kFlat / 32), most = 1 << 16;
  return cu_launch(ctx, err, code_rows, static_cast<unsigned>(blocks < most ? blocks : most), kFlat, 0,
                   cu_sq::rows_of(y), reinterpret_cast<const float *>(call->in[1].data), y.dim[1],
                   reinterpret_cast<unsigned char *>(call->out[0].data), reinterpret_cast<float *>(call->out[1].data));
}

}  // namespace cu_match
