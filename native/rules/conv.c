/* conv.c: the rules of convolutions. */
#include "rules.h"

static const char *const names[] = {"conv2d", "conv2d_grad_input", "conv2d_grad_weight"};

int32_t cr_conv_describe(const cr_call *call, cr_conv_op what, cr_conv *c, credence_error *err) {
  const cr_tensor *x = what == CR_CONV_GRAD_INPUT ? &call->out[0] : &call->in[0];
  const cr_tensor *w = what == CR_CONV_GRAD_WEIGHT ? &call->out[0] : &call->in[1];
  const cr_tensor *y = what == CR_CONV_FORWARD ? &call->out[0] : &call->in[what == CR_CONV_GRAD_INPUT ? 0 : 1];
  const cr_tensor *bias = call->n_in > 2 ? &call->in[2] : NULL;
  char sx[96], sw[96], sy[96];
  if (x->ndim != 4 || w->ndim != 4 || y->ndim != 4 || x->dim[0] != y->dim[0] || x->dim[3] != w->dim[2] ||
      y->dim[3] != w->dim[3] || w->dim[0] < 1 || w->dim[1] < 1)
    return cr_fail(
        err, CREDENCE_INVALID_ARGUMENT,
        "%s: x is %s, w is %s, y is %s; [B,H,W,C], [R,S,C,F] and [B,P,Q,F] with R and S at least 1 are needed",
        names[what], cr_shape(x, sx), cr_shape(w, sw), cr_shape(y, sy));
  *c = (cr_conv){.b = x->dim[0],
                 .h = x->dim[1],
                 .w = x->dim[2],
                 .c = x->dim[3],
                 .p = y->dim[1],
                 .q = y->dim[2],
                 .f = y->dim[3],
                 .r = w->dim[0],
                 .s = w->dim[1],
                 .sh = call->i[0],
                 .sw = call->i[1],
                 .top = call->i[2],
                 .left = call->i[3],
                 .x = what == CR_CONV_GRAD_INPUT ? NULL : (const float *)x->data,
                 .weights = what == CR_CONV_GRAD_WEIGHT ? NULL : (const float *)w->data,
                 .y = what == CR_CONV_FORWARD ? NULL : (const float *)y->data,
                 .bias = bias != NULL ? (const float *)bias->data : NULL,
                 .out = (float *)call->out[0].data,
                 .act = call->i[4],
                 .act_p = (float)call->f[0]};
  const int64_t most = 1 << 20;
  if (c->sh < 1 || c->sw < 1 || c->sh > most || c->sw > most || c->sh * c->sw > most || c->top < 0 || c->left < 0 ||
      c->top > most || c->left > most || (c->p - 1) * c->sh + c->r - c->top - c->h > most ||
      (c->q - 1) * c->sw + c->s - c->left - c->w > most)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "%s: strides %lld %lld and padding %lld %lld do not place w (%s) on x (%s) for y (%s)", names[what],
                   (long long)c->sh, (long long)c->sw, (long long)c->top, (long long)c->left, cr_shape(w, sw),
                   cr_shape(x, sx), cr_shape(y, sy));
  const int64_t channels = what == CR_CONV_GRAD_INPUT ? c->c : c->f;
  if (bias != NULL && (bias->ndim != 1 || bias->dim[0] != channels))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: bias is %s, %lld values are needed", names[what],
                   cr_shape(bias, sx), (long long)channels);
  return CREDENCE_OK;
}

static int32_t check(const cr_call *call, cr_conv_op what, credence_error *err) {
  int32_t status = cr_expect(call, names[what], 2, what == CR_CONV_GRAD_WEIGHT ? 2 : 3, 1, 0, 5, 1, err);
  for (uint32_t k = 0; status == CREDENCE_OK && k <= call->n_in; k++) {
    const cr_tensor *t = k < call->n_in ? &call->in[k] : &call->out[0];
    const char *tensor = k == call->n_in ? "the output" : k == 0 ? "input 0" : k == 1 ? "input 1" : "the bias";
    status = cr_expect_dtype(t, CREDENCE_F32, names[what], tensor, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, names[what], tensor, err);
  }
  cr_conv c;
  if (status == CREDENCE_OK) status = cr_conv_describe(call, what, &c, err);
  if (status != CREDENCE_OK) return status;
  if (!cr_act_valid(call->i[4], call->f[0]) || (what == CR_CONV_GRAD_WEIGHT && call->i[4] != CREDENCE_ACT_NONE))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: no activation %lld with parameter %g", names[what],
                   (long long)call->i[4], call->f[0]);
  return CREDENCE_OK;
}

#define RULE(name, what) \
  int32_t cr_rule_##name(const cr_call *call, credence_error *err) { return check(call, what, err); }
RULE(conv2d, CR_CONV_FORWARD)
RULE(conv2d_grad_input, CR_CONV_GRAD_INPUT)
RULE(conv2d_grad_weight, CR_CONV_GRAD_WEIGHT)
