/* credence_ops.h: every operation a backend may be asked for, one line each.
 *
 *   CREDENCE_OP(number, NAME, name)
 *
 * Numbers are permanent: they are never reused, new ops take new numbers. A test on the host parses this list and
 * compares it with its own definitions, which also hold each op's shape rule, gradient and float64 reference.
 *
 * Notation: inputs -> outputs, `inout` = updated in place; i: integer attributes in order; f: scalar attributes.
 * Tensors are float32 unless said otherwise; "i32" marks index tensors. [..] are shapes, outermost first.
 * "any strides": inputs and outputs may be strided views, an input stride of 0 broadcasts. All other tensors are dense
 * in row-major order. Any dimension may be 0. "in place": output 0 may be input 0 (same memory, same layout).
 */
#ifndef CREDENCE_OPS_H
#define CREDENCE_OPS_H

/* Activation kinds (attribute `act`), with one parameter p. */
enum {
  CREDENCE_ACT_NONE = 0,
  CREDENCE_ACT_RELU = 1,         /* max(x, 0) */
  CREDENCE_ACT_FATRELU = 2,      /* x where x >= p, else 0 (p >= 0) */
  CREDENCE_ACT_SHIFTED_RELU = 3, /* max(x - p, 0) */
  CREDENCE_ACT_LEAKY_RELU = 4,   /* x where x > 0, else p x */
  CREDENCE_ACT_GELU = 5,         /* x Phi(x), exact (erf) */
  CREDENCE_ACT_SILU = 6,         /* x sigmoid(x) */
  CREDENCE_ACT_TANH = 7,
  CREDENCE_ACT_SIGMOID = 8,
  CREDENCE_ACT_SOFTPLUS = 9, /* log(1 + exp(x)) */
  CREDENCE_ACT_RELU_SQUARED = 10
};

/* clang-format off */
#define CREDENCE_OPS(CREDENCE_OP)                                                                                      \
  /* ---- data movement ---- */                                                                                        \
  /* () -> y; f: value. Any strides, any type */                                                                       \
  CREDENCE_OP(1, FILL, fill)                                                                                           \
  /* x -> y. Same shape, any strides; converts between f32 f64 f16 bf16 i32 i64 u8 (to integers: nearest even, saturating, NaN -> 0); x may be q8_0/q4_0 */ \
  CREDENCE_OP(2, COPY, copy)                                                                                           \
  /* table [V,D] (f32 f16 bf16 q8_0 q4_0), index i32 [N] -> y [N,D]. An index outside 0..V-1 is an error */            \
  CREDENCE_OP(3, GATHER_ROWS, gather_rows)                                                                             \
  /* rows [N,D], index i32 [N], inout table [V,D]: table[index[n]] += rows[n], n ascending */                          \
  CREDENCE_OP(4, SCATTER_ADD_ROWS, scatter_add_rows)                                                                   \
  /* x [B,H,W,C] -> y [B,P,Q,C]: bilinear, half-pixel centres, edges clamped, no antialias */                          \
  CREDENCE_OP(5, RESIZE_BILINEAR, resize_bilinear)                                                                     \
  /* dy [B,P,Q,C] -> dx [B,H,W,C] */                                                                                   \
  CREDENCE_OP(6, RESIZE_BILINEAR_GRAD, resize_bilinear_grad)                                                           \
  /* ---- elementwise, one input; any strides; in place ---- */                                                        \
  CREDENCE_OP(10, NEG, neg)                                                                                            \
  CREDENCE_OP(11, ABS, abs)                                                                                            \
  CREDENCE_OP(12, EXP, exp)                                                                                            \
  CREDENCE_OP(13, LOG, log)                                                                                            \
  CREDENCE_OP(14, SQRT, sqrt)                                                                                          \
  CREDENCE_OP(15, RSQRT, rsqrt)                                                                                        \
  CREDENCE_OP(16, SQUARE, square)                                                                                      \
  CREDENCE_OP(17, RECIPROCAL, reciprocal)                                                                              \
  /* f: a, b. y = a x + b */                                                                                           \
  CREDENCE_OP(18, AFFINE, affine)                                                                                      \
  /* f: lo, hi. NaN stays NaN */                                                                                       \
  CREDENCE_OP(19, CLAMP, clamp)                                                                                        \
  /* x, dy -> dx; f: lo, hi. dx = dy where lo <= x <= hi, else 0 */                                                    \
  CREDENCE_OP(20, CLAMP_GRAD, clamp_grad)                                                                              \
  /* -1, 0, 1; NaN stays NaN */                                                                                        \
  CREDENCE_OP(21, SIGN, sign)                                                                                          \
  /* x -> y; i: act; f: p */                                                                                           \
  CREDENCE_OP(25, ACTIVATION, activation)                                                                              \
  /* x, dy -> dx; i: act; f: p. In place over dy is not allowed, over x is */                                          \
  CREDENCE_OP(26, ACTIVATION_GRAD, activation_grad)                                                                    \
  /* y, dy -> dx from the activation's own output; act other than GELU and SILU, LEAKY_RELU with p >= 0 */             \
  CREDENCE_OP(27, ACTIVATION_GRAD_FROM_OUTPUT, activation_grad_from_output)                                            \
  /* ---- elementwise, two inputs a, b -> y; any strides (0 broadcasts); in place ---- */                              \
  CREDENCE_OP(30, ADD, add)                                                                                            \
  CREDENCE_OP(31, SUB, sub)                                                                                            \
  CREDENCE_OP(32, MUL, mul)                                                                                            \
  CREDENCE_OP(33, DIV, div)                                                                                            \
  /* NaN if either is NaN */                                                                                           \
  CREDENCE_OP(34, MAXIMUM, maximum)                                                                                    \
  CREDENCE_OP(35, MINIMUM, minimum)                                                                                    \
  /* 1 where a >= b, else 0 (NaN: 0) */                                                                                \
  CREDENCE_OP(36, GREATER_EQUAL, greater_equal)                                                                        \
  /* 1 where a == b, else 0 (NaN: 0) */                                                                                \
  CREDENCE_OP(37, EQUAL, equal)                                                                                        \
  /* ---- reductions: x (any strides) -> y of the same rank, 1 along the reduced axes; i: bit mask of axes ---- */     \
  CREDENCE_OP(40, REDUCE_SUM, reduce_sum)                                                                              \
  CREDENCE_OP(41, REDUCE_MEAN, reduce_mean)                                                                            \
  CREDENCE_OP(42, REDUCE_MAX, reduce_max)                                                                              \
  CREDENCE_OP(43, REDUCE_MIN, reduce_min)                                                                              \
  /* sum of squares */                                                                                                 \
  CREDENCE_OP(44, REDUCE_SUM_SQUARES, reduce_sum_squares)                                                              \
  /* x [R,N] -> index i32 [R] along the last axis; ties: lowest index; NaN is never chosen unless all are NaN (0) */   \
  CREDENCE_OP(45, ARG_MAX, arg_max)                                                                                    \
  CREDENCE_OP(46, ARG_MIN, arg_min)                                                                                    \
  /* ---- softmax family over the last axis, x [R,N] ---- */                                                           \
  CREDENCE_OP(50, SOFTMAX, softmax)                                                                                    \
  /* y, dy -> dx */                                                                                                    \
  CREDENCE_OP(51, SOFTMAX_GRAD, softmax_grad)                                                                          \
  CREDENCE_OP(52, LOG_SOFTMAX, log_softmax)                                                                            \
  /* y, dy -> dx */                                                                                                    \
  CREDENCE_OP(53, LOG_SOFTMAX_GRAD, log_softmax_grad)                                                                  \
  /* x [R,N] -> y [R] */                                                                                               \
  CREDENCE_OP(54, LOG_SUM_EXP, log_sum_exp)                                                                            \
  /* logits [R,N], label i32 [R] -> loss [R] = -log softmax(logits)[label]; a label of -1 gives 0 (row ignored), any other outside 0..N-1 is an error */ \
  CREDENCE_OP(55, CROSS_ENTROPY, cross_entropy)                                                                        \
  /* logits, label, dloss [R] -> dlogits [R,N] */                                                                      \
  CREDENCE_OP(56, CROSS_ENTROPY_GRAD, cross_entropy_grad)                                                              \
  /* ---- matrix product: a [..,M,K], b [..,K,N] (or transposed), optional bias [N] -> y [..,M,N];                     \
     i: transpose_a, transpose_b, act; f: alpha, p. y = act(alpha a b + bias). Up to 3 batch axes, any strides         \
     there (0 broadcasts); rows may be strided, elements within a row are adjacent. b may be f16 or bf16 ---- */       \
  CREDENCE_OP(60, MATMUL, matmul)                                                                                      \
  /* ---- convolution, NHWC; i: stride_h, stride_w, pad_top, pad_left, act; f: p (bottom and right padding follow      \
     from the shapes) ---- */                                                                                          \
  /* x [B,H,W,C], w [R,S,C,F], optional bias [F] -> y [B,P,Q,F] */                                                     \
  CREDENCE_OP(64, CONV2D, conv2d)                                                                                      \
  /* y [B,P,Q,F], w [R,S,C,F], optional bias [C] -> x [B,H,W,C]: the input gradient, and the transposed convolution */ \
  CREDENCE_OP(65, CONV2D_GRAD_INPUT, conv2d_grad_input)                                                                \
  /* x [B,H,W,C], dy [B,P,Q,F] -> dw [R,S,C,F] (act must be NONE) */                                                   \
  CREDENCE_OP(66, CONV2D_GRAD_WEIGHT, conv2d_grad_weight)                                                              \
  /* ---- normalisation over rows of x [R,C]; biased variance ---- */                                                  \
  /* x, gamma [C], beta [C] -> y, mean [C], var [C] of the batch; i: act; f: eps, p */                                 \
  CREDENCE_OP(70, BATCH_NORM_TRAIN, batch_norm_train)                                                                  \
  /* x, gamma, beta, mean, var, dy -> dx, dgamma [C], dbeta [C]; i: act; f: eps, p. dy is the gradient of act's output */ \
  CREDENCE_OP(71, BATCH_NORM_GRAD, batch_norm_grad)                                                                    \
  /* x, gamma, beta, mean, var -> y; i: act; f: eps, p. In place */                                                    \
  CREDENCE_OP(72, BATCH_NORM_EVAL, batch_norm_eval)                                                                    \
  /* x, gamma -> y = gamma x / sqrt(mean(x^2) + eps); f: eps */                                                        \
  CREDENCE_OP(73, RMS_NORM, rms_norm)                                                                                  \
  /* x, gamma, dy -> dx, dgamma; f: eps */                                                                             \
  CREDENCE_OP(74, RMS_NORM_GRAD, rms_norm_grad)                                                                        \
  /* x, gamma, beta -> y; f: eps */                                                                                    \
  CREDENCE_OP(75, LAYER_NORM, layer_norm)                                                                              \
  /* x, gamma, dy -> dx, dgamma, dbeta; f: eps */                                                                      \
  CREDENCE_OP(76, LAYER_NORM_GRAD, layer_norm_grad)                                                                    \
  /* ---- squared Euclidean distance between rows of x [N,D] and y [M,D], summed as (x_k - y_k)^2 and never expanded: a  \
     relative error, 0 for equal rows. Rows may be strided (y's count may be an argument), elements within are adjacent ---- */ \
  /* x, y -> distance [N,M] */                                                                                         \
  CREDENCE_OP(80, PAIRWISE_SQDIST, pairwise_sqdist)                                                                    \
  /* x, y -> distance [N], index i32 [N] of the nearest row of y; ties: lowest index; NaN: last. M >= 1 */             \
  CREDENCE_OP(81, PAIRWISE_ARG_MIN, pairwise_arg_min)                                                                  \
  /* x, y, bound [N] -> count i32 [N] of rows of y with distance < bound */                                            \
  CREDENCE_OP(82, PAIRWISE_COUNT, pairwise_count)                                                                      \
  /* x [N,D], prediction i32 [N], exclude i32 [N], then pairs of y [S,D] and class i32 [S] -> q i32 [N], distance [N],   \
     nearest i32 [N]; i: K. All rows of y, numbered one pair after the other, in the order of (distance, number): q is   \
     how many come before the first with class != prediction, at most K; the nearest is the first. A negative class is  \
     no prediction's; -2, and the number exclude, count as absent. No row: 0, Inf, -1. NaN: last. K >= 1 */              \
  CREDENCE_OP(83, MATCH, match)                                                                                        \
  /* y [S,D], centre [D] -> code u8 [S,D], fit [S,2]: y less the centre as scale (code - 128); fit is the scale and a    \
     bound on the length of what is left (Inf: not to be used) */                                                       \
  CREDENCE_OP(84, MATCH_CODES, match_codes)                                                                            \
  /* MATCH whose supports are y, class, centre [D], code u8 [S,D], fit [S,2] each, as MATCH_CODES makes them */          \
  CREDENCE_OP(85, MATCH_CODED, match_coded)                                                                            \
  /* ---- batches of small lower-triangular matrices l [B,D,D]; what lies above the diagonal is not read. TRI_MATMUL    \
     and TRI_SOLVE take any strides but the innermost ---- */                                                          \
  /* a [B,D,D] symmetric (lower triangle read) -> l (zeros above). Not positive definite: an error naming batch and pivot */ \
  CREDENCE_OP(90, CHOLESKY, cholesky)                                                                                  \
  /* l, dl -> da, symmetric */                                                                                         \
  CREDENCE_OP(91, CHOLESKY_GRAD, cholesky_grad)                                                                        \
  /* l, x [B,N,D] -> y [B,N,D]; i: transpose. Row n: y = l x (or l' x) */                                              \
  CREDENCE_OP(92, TRI_MATMUL, tri_matmul)                                                                              \
  /* l, x [B,N,D] -> y; i: transpose. Row n solves l y = x (or l' y = x) */                                            \
  CREDENCE_OP(93, TRI_SOLVE, tri_solve)                                                                                \
  /* l -> y [B] = sum of log |l_ii| */                                                                                 \
  CREDENCE_OP(94, TRI_LOG_DET, tri_log_det)                                                                            \
  /* l, dy [B] -> dl: dy / l_ii on the diagonal, 0 elsewhere */                                                        \
  CREDENCE_OP(95, TRI_LOG_DET_GRAD, tri_log_det_grad)                                                                  \
  /* x [B,D,D] -> y: lower triangle kept, zeros above. In place */                                                     \
  CREDENCE_OP(96, TRIL, tril)                                                                                          \
  /* x [B,D,D] -> l: x below the diagonal, softplus(x_ii) + floor on it, zeros above; f: floor */                      \
  CREDENCE_OP(97, TRIL_SOFTPLUS, tril_softplus)                                                                        \
  /* x, dl -> dx */                                                                                                    \
  CREDENCE_OP(98, TRIL_SOFTPLUS_GRAD, tril_softplus_grad)                                                              \
  /* ---- counter-based random numbers, Philox4x32-10, y [R,N]; i: seed, stream (0 .. 2^32-1), row0. Element (r,c)     \
     depends on (seed, stream, row0 + r, c) only: it is made of word c mod 4 of the block with key (seed's low 32 bits, \
     its high) and counter (c / 4, row's low 32 bits, its high, stream), where row = row0 + r modulo 2^64 ---- */      \
  /* i32: the raw 32 bits */                                                                                           \
  CREDENCE_OP(100, RANDOM_BITS, random_bits)                                                                           \
  /* f: lo, hi. lo + (hi - lo) u, u = (word >> 8) / 2^24; below hi where lo < hi */                                    \
  CREDENCE_OP(101, RANDOM_UNIFORM, random_uniform)                                                                     \
  /* f: mean, deviation. Box-Muller on pairs of words (0,1) and (2,3): sqrt(-2 log((a + 1) / 2^32)) times the cosine,  \
     then the sine, of b / 2^32 turns */                                                                               \
  CREDENCE_OP(102, RANDOM_NORMAL, random_normal)                                                                       \
  /* ---- selection: x [R,N] -> value [R,k], index i32 [R,k], descending, ties by lowest index; NaN last; i: k ---- */ \
  CREDENCE_OP(110, TOP_K, top_k)                                                                                       \
  /* dvalue [R,k], index i32 [R,k] (distinct within a row) -> dx [R,N]: dvalue at its index, 0 elsewhere; i: N */      \
  CREDENCE_OP(111, TOP_K_GRAD, top_k_grad)                                                                             \
  /* ---- optimisers over flat segments [n] ---- */                                                                    \
  /* grad, scale [1] (the gradient is multiplied by it), inout param, m, v; i: step (from 1), decoupled (1 = AdamW); f: lr, beta1, beta2, eps, weight_decay. A scale of 0 skips the step: nothing changes, whatever grad holds */ \
  CREDENCE_OP(120, ADAM, adam)                                                                                         \
  /* value, inout state; f: weight. state += weight (value - state); weight 1 copies */                                \
  CREDENCE_OP(121, LERP, lerp)                                                                                         \
  /* grad [n] -> norm [1], scale [1] = min(1, max_norm / norm), 1 for max_norm <= 0; f: max_norm. A norm that is NaN or beyond float32: scale 0 */ \
  CREDENCE_OP(122, CLIP_SCALE, clip_scale)                                                                             \
  /* x, inout y; f: a. y += a x */                                                                                     \
  CREDENCE_OP(123, AXPY, axpy)                                                                                         \
  /* ---- decoders. w: f32, f16, bf16, q8_0 or q4_0; caches: f32, f16 or bf16 ---- */                                  \
  /* x [M,K], w [N,K], optional bias [N] -> y [M,N] = x w' + bias; a row's bits are the same in every batch */         \
  CREDENCE_OP(130, LINEAR, linear)                                                                                     \
  /* x [T,H,D], optional factor [R/2] -> y; i: position, layout, R; f: theta, scale. Elements i and i + R/2 (layout 0) or \
     2i and 2i + 1 (1) turned by (position + t) scale theta^(-2i/R) / factor_i */                                      \
  CREDENCE_OP(131, ROTARY, rotary)                                                                                     \
  /* rows [T,..], inout table [C,..] (f32, f16, bf16); i: row. table[row + t] = rows[t]; beyond the table: an error */ \
  CREDENCE_OP(132, WRITE_ROWS, write_rows)                                                                             \
  /* q [T,H,D], k [C,G,D], v [C,G,D] -> y [T,H,D]; i: position; f: scale. Causal: row t reads rows 0 .. position + t */ \
  CREDENCE_OP(133, ATTENTION, attention)                                                                               \
  /* x [B,D], w1 [F,D], w2 [F,D] (transposed), both or none of the biases [F], [D] -> y [B,D] = h w2 + bias,           \
     h [B,F] = select(act(x w1' + bias)), count i32 [B] of its elements that are not 0, read i32 [2]: rows read of the \
     second and the third matrix; i: act, both, select, k; f: p, z, limit. select 1: the k largest; 2: act(max(x - mean \
     - z deviation, 0)) of the row. All rows are read if more than limit F are needed; the bits are the same. both: 0 */ \
  CREDENCE_OP(134, SPARSE_FFN, sparse_ffn)                                                                             \
  /* x, gate [F,D], up [F,D], down [F,D] (transposed), all or none of the biases [F], [F], [D] -> as above, with       \
     h = select(act(x gate' + bias)) (x up' + bias), or both: times act of that */                                     \
  CREDENCE_OP(135, SPARSE_FFN_GATED, sparse_ffn_gated)                                                                 \
  /* x [B,D], w [F,D], s [B,F] -> y [B,F] = s (x w'), 0 where s is 0; read i32 [1]: rows of w read; f: limit */        \
  CREDENCE_OP(136, MASKED_LINEAR, masked_linear)                                                                       \
  /* h [B,F], w [F,D], optional bias [D] -> y [B,D] = h w + bias; read i32 [1]: rows of w read; f: limit */            \
  CREDENCE_OP(137, SPARSE_LINEAR, sparse_linear)

/* The ops whose output 0 may be input 0: the very same memory and layout, while no other input overlaps it. A backend
 * refuses any other overlap of an output. A test on the host compares this list with its own definitions. */
#define CREDENCE_IN_PLACE_OPS(IN_PLACE)                                                                                \
  IN_PLACE(NEG) IN_PLACE(ABS) IN_PLACE(EXP) IN_PLACE(LOG) IN_PLACE(SQRT) IN_PLACE(RSQRT) IN_PLACE(SQUARE)              \
  IN_PLACE(RECIPROCAL) IN_PLACE(AFFINE) IN_PLACE(CLAMP) IN_PLACE(CLAMP_GRAD) IN_PLACE(SIGN)                            \
  IN_PLACE(ACTIVATION) IN_PLACE(ACTIVATION_GRAD) IN_PLACE(ACTIVATION_GRAD_FROM_OUTPUT) IN_PLACE(ADD)                   \
  IN_PLACE(SUB) IN_PLACE(MUL) IN_PLACE(DIV) IN_PLACE(MAXIMUM) IN_PLACE(MINIMUM) IN_PLACE(GREATER_EQUAL)                \
  IN_PLACE(EQUAL) IN_PLACE(BATCH_NORM_EVAL) IN_PLACE(TRIL)
/* clang-format on */

typedef enum credence_opcode {
#define CREDENCE_OP(number, NAME, name) CREDENCE_OP_##NAME = number,
  CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP
      CREDENCE_OP_LIMIT = 256
} credence_opcode;

#endif
