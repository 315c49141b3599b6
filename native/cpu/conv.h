/* conv.h: what the three operations of a convolution share. Compiled once per instruction set. */
#ifndef CREDENCE_CPU_CONV_H
#define CREDENCE_CPU_CONV_H

#include "gemm.h"
#include "rules.h"

/* Multiply-adds in a task, about 80 us with AVX-512. */
#define CR_CONV_TASK (4 << 20)
/* Bytes of padded pictures that a task works on: they stay in the second-level cache. */
#define CR_CONV_BAND (512 << 10)

/* Rows [first, first + rows) of a picture [height][width][channels] into to, where row 0 is pad_top rows above the
 * picture and each row is pitch_pixels wide, starting pad_left pixels left of it; zeros outside the picture. */
static inline void cr_pad_rows(const float *picture, int64_t height, int64_t width, int64_t channels, int64_t pad_top,
                               int64_t pad_left, int64_t first, int64_t rows, int64_t pitch_pixels, float *to) {
  const int64_t pitch = pitch_pixels * channels, left = cr_min(pad_left, pitch_pixels);
  const int64_t inside = cr_max(0, cr_min(width, pitch_pixels - left));
  for (int64_t i = 0; i < rows; i++, to += pitch) {
    const int64_t row = first + i - pad_top;
    if (row < 0 || row >= height) {
      memset(to, 0, (size_t)pitch * 4);
      continue;
    }
    memset(to, 0, (size_t)(left * channels) * 4);
    memcpy(to + left * channels, picture + row * width * channels, (size_t)(inside * channels) * 4);
    memset(to + (left + inside) * channels, 0, (size_t)(pitch - (left + inside) * channels) * 4);
  }
}

/* The weight gradient; c->x and c->y are inputs. The scratch it may use is what it asked for. */
void CR_NAME(cr_conv_weight_scratch)(const cr_conv *c, int32_t threads, cr_scratch *scratch);
int32_t CR_NAME(cr_conv_weight_run)(const cr_conv *c, const cr_ctx *ctx, credence_error *err);

/* Scratch of a run must have been asked for with sizes at least as large; proves it. */
static inline int32_t cr_conv_fits(const cr_scratch *need, const cr_ctx *ctx, credence_error *err) {
  if (need->shared <= ctx->scratch_shared && need->per_thread <= ctx->scratch_per_thread) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "conv2d: sizes grew beyond those the plan was opened with");
}

#endif
