/* plan_open proves everything about a description. First by hand: one wrong thing at a time. Then by chance: tables
 * with random damage, which must be refused or run within their memory. Run it under AddressSanitizer to make that
 * count. */
#include <limits.h>

#include "harness.h"

static const credence_backend *b;
static credence_device *device;
static credence_error err;

/* Two arguments, two slots, two ops; correct. */
static recipe good(void) {
  recipe p = {
      .n_slots = 2, .slot_bytes = {4096, 1024}, .n_iargs = 2, .iarg_min = {0, 2}, .iarg_max = {10, 5}, .n_fargs = 1};
  start_op(&p, CREDENCE_OP_NEG, 1, 1, 0);
  add_tensor(&p, 0, 0, CREDENCE_F32, 10, 4, -1)->dim[0] = times_arg(1, 0);
  add_tensor(&p, 0, 1024, CREDENCE_F32, 10, 4, -1)->dim[0] = times_arg(1, 0);
  start_op(&p, CREDENCE_OP_FILL, 0, 1, 0);
  add_tensor(&p, 1, 0, CREDENCE_F32, 4, -1, -1)->offset = times_arg(64, 1);
  add_f(&p, 1, 0);
  return p;
}

static int32_t open_status(const recipe *p) {
  credence_plan_desc desc = desc_of(p);
  credence_plan *plan = NULL;
  int32_t status = b->plan_open(device, &desc, &plan, &err);
  CHECK((status == CREDENCE_OK) == (plan != NULL));
  CHECK(status == CREDENCE_OK || (err.code == status && err.msg[0] != '\0' && memchr(err.msg, 0, sizeof err.msg)));
  b->plan_close(plan);
  return status;
}

/* Opens good() with one change. */
#define WITH(change, status)                                                            \
  do {                                                                                  \
    recipe p = good();                                                                  \
    change;                                                                             \
    int32_t got_ = open_status(&p);                                                     \
    if (got_ != (status)) fprintf(stderr, "with %s: %d: %s\n", #change, got_, err.msg); \
    CHECK(got_ == (status));                                                            \
  } while (0)

enum { OK = CREDENCE_OK, BAD = CREDENCE_INVALID_ARGUMENT, UNSUPPORTED = CREDENCE_UNSUPPORTED };

static void one_wrong_thing(void) {
  const int64_t most = INT64_MAX, least = INT64_MIN;
  WITH(, OK);
  /* opcodes, counts and indices */
  WITH(p.ops[0].opcode = 0, UNSUPPORTED);
  WITH(p.ops[0].opcode = 255, UNSUPPORTED);
  WITH(p.ops[0].opcode = UINT32_MAX, UNSUPPORTED);
  WITH(p.ops[0].opcode = CREDENCE_OP_ADAM, UNSUPPORTED);
  WITH(p.ops[0].n_in = 2, BAD);
  WITH(p.ops[0].n_in = UINT32_MAX, BAD);
  WITH(p.ops[0].n_out = UINT32_MAX, BAD);
  WITH((p.ops[0].n_in = 1u << 31, p.ops[0].n_out = 1u << 31), BAD);
  WITH(p.ops[0].n_out = 0, BAD);
  WITH((p.ops[0].n_out = 0, p.ops[0].n_inout = 1), BAD);
  WITH(p.ops[0].first_tensor = 2, BAD);
  WITH(p.ops[0].first_tensor = UINT32_MAX, BAD);
  WITH(p.ops[1].n_f = 2, BAD);
  WITH(p.ops[1].n_f = UINT32_MAX, BAD);
  WITH(p.ops[1].n_f = 0, BAD);
  WITH(p.ops[1].first_f = 1, BAD);
  WITH(p.ops[1].n_i = 1, BAD);
  WITH(p.ops[1].first_i = UINT32_MAX, BAD);
  WITH(p.ops[1].n_f = 0, BAD);
  /* tensors */
  WITH(p.tensors[0].slot = 2, BAD);
  WITH(p.tensors[0].slot = -1, BAD);
  WITH(p.tensors[0].dtype = 0, UNSUPPORTED);
  WITH(p.tensors[0].dtype = 99, UNSUPPORTED);
  WITH(p.tensors[0].dtype = INT32_MIN, UNSUPPORTED);
  WITH(p.tensors[0].dtype = CREDENCE_I32, UNSUPPORTED); /* by the op's own rule */
  WITH(p.tensors[0].dtype = CREDENCE_F64, BAD);         /* a step of 4 bytes */
  WITH(p.tensors[0].ndim = 6, BAD);
  WITH(p.tensors[0].ndim = -1, BAD);
  WITH(p.tensors[0].ndim = 1, BAD);
  WITH(p.tensors[0].flags = 1, BAD);
  WITH(p.tensors[0].dim[1].reserved = 1, BAD);
  WITH(p.tensors[0].dim[0] = constant(-1), BAD);
  WITH(p.tensors[0].dim[0] = constant(least), BAD);
  WITH(p.tensors[0].dim[0] = constant(most), BAD);
  WITH(p.tensors[0].dim[0] = times_arg(most, 0), BAD);
  WITH(p.tensors[0].dim[0] = times_arg(-1, 0), BAD);
  WITH(p.tensors[0].dim[0] = times_arg(1, 2), BAD);
  WITH(p.tensors[0].dim[0] = times_arg(1, INT32_MAX), BAD);
  WITH(p.tensors[0].dim[0] = times_arg(2, 1), BAD); /* 10 at the maxima like the output, but not otherwise */
  WITH(p.tensors[1].dim[0] = constant(10), BAD);
  WITH(p.tensors[0].base = 4096 - 160 + 4, BAD);
  WITH((p.tensors[0].base = 4096 - 160, p.tensors[1].base = 1024), OK);
  WITH(p.tensors[0].base = -4, BAD);
  WITH(p.tensors[0].base = 2, BAD);
  WITH(p.tensors[0].base = most - 3, BAD);
  WITH(p.tensors[0].base = least, BAD);
  WITH(p.tensors[0].stride[0] = most - 3, BAD);
  WITH(p.tensors[0].stride[0] = least, BAD);
  WITH((p.tensors[2].dim[0] = constant(1), p.tensors[2].stride[0] = least), BAD);
  WITH((p.tensors[2].dim[0] = constant(1), p.tensors[2].stride[0] = least + 4), OK);
  WITH(p.tensors[0].stride[0] = 18, BAD);
  WITH(p.tensors[0].stride[0] = 20, BAD);
  WITH(p.tensors[0].stride[0] = -16, BAD);
  WITH(p.tensors[1].stride[0] = 0, BAD);
  WITH(p.tensors[2].stride[0] = 0, BAD); /* an output may not repeat */
  WITH(p.tensors[2].stride[0] = -4, OK);
  WITH((p.tensors[2].ndim = 2, p.tensors[2].dim[1] = constant(4), p.tensors[2].stride[1] = 8),
       BAD); /* nor interleave */
  WITH((p.tensors[2].ndim = 2, p.tensors[2].dim[1] = constant(4), p.tensors[2].stride[1] = 16), OK);
  WITH(p.tensors[0].offset = constant(most - 3), BAD);
  WITH(p.tensors[0].offset = times_arg(most - 3, 0), BAD);
  WITH(p.tensors[2].offset = times_arg(200, 1), OK);
  WITH(p.tensors[2].offset = times_arg(204, 1), BAD);
  WITH(p.tensors[2].offset = times_arg(2, 1), BAD);
  WITH(p.tensors[2].offset = times_arg(-64, 1), BAD);
  WITH((p.tensors[2].offset = times_arg(-64, 1), p.tensors[2].base = 320), OK);
  WITH(p.tensors[2].slot = 0, OK);
  WITH((p.tensors[0].dim[0] = constant(0), p.tensors[1].dim[0] = constant(0), p.tensors[0].base = 4096), OK);
  WITH((p.tensors[0].dim[0] = constant(0), p.tensors[1].dim[0] = constant(0), p.tensors[0].base = 4100), BAD);
  WITH((p.tensors[0].dim[0] = constant(0), p.tensors[0].dim[1] = constant(most)), BAD);
  /* blocks */
  WITH((p.tensors[2].dtype = CREDENCE_Q8_0, p.tensors[2].dim[0] = constant(33)), BAD);
  WITH((p.tensors[2].dtype = CREDENCE_Q8_0, p.tensors[2].ndim = 0), BAD);
  WITH((p.tensors[2].dtype = CREDENCE_Q8_0, p.tensors[2].dim[0] = constant(32 * 31)), BAD);
  /* what is written overlaps nothing */
  WITH(p.tensors[1].base = 0, OK); /* in place, exactly */
  WITH(p.tensors[1].base = 4, BAD);
  WITH(p.tensors[1].base = 156, BAD);
  WITH(p.tensors[1].base = 160, OK);
  WITH((p.ops[0].opcode = CREDENCE_OP_EXP, p.tensors[1].base = 0, p.ops[0].n_f = 1), OK);
  WITH((p.ops[0].opcode = CREDENCE_OP_ABS, p.tensors[0].dim[0] = constant(10), p.tensors[1].base = 0), BAD);
  /* arguments, attributes, slots */
  WITH(p.iarg_min[0] = 11, BAD);
  WITH(p.iarg_min[0] = -1, BAD);
  WITH(p.iarg_max[0] = most, BAD);
  WITH(p.iarg_max[0] = 64, OK);
  WITH(p.iarg_max[0] = 65, BAD); /* input and output meet */
  WITH((p.iarg_max[0] = 65, p.tensors[1].base = 1040), OK);
  WITH(p.n_iargs = 1, BAD);
  WITH(p.f[0].arg = 1, BAD);
  WITH(p.f[0].reserved = 1, BAD);
  WITH(p.n_fargs = 0, BAD);
  WITH(p.slot_bytes[0] = 1183, BAD);
  WITH(p.slot_bytes[0] = 1184, OK);
  WITH(p.slot_bytes[0] = UINT64_MAX, BAD);
  WITH(p.n_slots = 1, BAD);
  WITH(p.n_slots = 0, BAD);
  WITH((p.n_ops = 0, p.n_tensors = 0, p.n_f = 0), OK);
}

static void null_tables(void) {
  const recipe p = good();
  for (int k = 0; k < 8; k++) {
    credence_plan_desc desc = desc_of(&p);
    credence_plan *plan = NULL;
    if (k == 0) desc.ops = NULL;
    if (k == 1) desc.tensors = NULL;
    if (k == 2) desc.f = NULL;
    if (k == 3) desc.iarg_min = NULL;
    if (k == 4) desc.iarg_max = NULL;
    if (k == 5) desc.slot_bytes = NULL;
    if (k == 6) desc.struct_size = 4;
    if (k == 7) desc.n_i = 1, desc.i = NULL;
    CHECK(b->plan_open(device, &desc, &plan, &err) == CREDENCE_INVALID_ARGUMENT && plan == NULL);
    CHECK(b->op_supported(device, &desc, 0, &err) == CREDENCE_INVALID_ARGUMENT);
  }
  credence_plan_desc desc = desc_of(&p);
  credence_plan *plan = NULL;
  CHECK(b->plan_open(device, NULL, &plan, &err) == CREDENCE_INVALID_ARGUMENT && plan == NULL);
  CHECK(b->plan_open(device, &desc, NULL, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->op_supported(device, &desc, 2, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->op_supported(device, &desc, UINT32_MAX, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK_STATUS(b->op_supported(device, &desc, 0, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->op_supported(device, &desc, 1, &err), CREDENCE_OK, &err);
}

/* Parts of a common buffer: columns of one matrix are apart, windows of it are not. */
static void parts(void) {
  for (int64_t first = 0; first <= 8; first++)
    for (int64_t second = 0; second <= 8; second++) {
      recipe p = {.n_slots = 1, .slot_bytes = {10 * 64}};
      start_op(&p, CREDENCE_OP_FILL, 0, 1, 0); /* the probe's rule lets any shapes pass */
      add_tensor(&p, 0, 4 * first, CREDENCE_F32, 10, 8, -1)->stride[0] = 64;
      add_f(&p, 1, -1);
      start_op(&p, CREDENCE_OP_FILL, 1, 1, 0);
      add_tensor(&p, 0, 4 * first, CREDENCE_F32, 10, 4, -1)->stride[0] = 64;
      add_tensor(&p, 0, 4 * second, CREDENCE_F32, 10, 4, -1)->stride[0] = 64;
      add_f(&p, 1, -1);
      credence_plan_desc desc = desc_of(&p);
      int32_t status = b->op_supported(device, &desc, 1, &err);
      CHECK(status == CREDENCE_INVALID_ARGUMENT);
      const bool overlap = strstr(err.msg, "overlaps") != NULL; /* else the op's own rule refused two tensors */
      CHECK(overlap == (first - second < 4 && second - first < 4));
    }
}

/* Any bytes of any table may be damaged. */
static void damage(uint64_t seed, int rounds) {
  int accepted = 0;
  credence_stream *stream = NULL;
  CHECK_STATUS(b->stream_open(device, &stream, &err), CREDENCE_OK, &err);
  static const int64_t edges[] = {0,
                                  1,
                                  -1,
                                  2,
                                  3,
                                  4,
                                  5,
                                  7,
                                  8,
                                  31,
                                  32,
                                  33,
                                  63,
                                  64,
                                  65,
                                  255,
                                  1024,
                                  4096,
                                  INT32_MAX,
                                  INT32_MIN,
                                  INT64_MAX,
                                  INT64_MIN,
                                  INT64_MAX / 4,
                                  INT64_MIN / 4,
                                  INT64_C(1) << 32,
                                  INT64_C(1) << 48};
  for (int round = 0; round < rounds; round++) {
    recipe p = good();
    struct {
      void *at;
      size_t size;
    } tables[] = {{p.ops, 2 * sizeof *p.ops},
                  {p.tensors, 3 * sizeof *p.tensors},
                  {p.f, sizeof *p.f},
                  {p.iarg_min, 16},
                  {p.iarg_max, 16},
                  {p.slot_bytes, 16},
                  {&p.n_ops, 28}};
    for (int64_t n = draw_range(&seed, 1, 3); n > 0; n--) {
      const int t = (int)draw_range(&seed, 0, 6);
      const bool wide = draw(&seed) % 2 == 0 && tables[t].size % 8 == 0;
      int64_t v = edges[draw(&seed) % (sizeof edges / sizeof *edges)];
      if (draw(&seed) % 4 == 0) v = (int64_t)draw(&seed);
      if (t == 6) v &= 3; /* counts beyond a table would be a broken host's lie: it is the host's memory */
      const size_t width = t == 6 ? 4 : wide ? 8 : 4;
      memcpy((char *)tables[t].at + draw(&seed) % (tables[t].size / width) * width, &v, width);
    }
    if (p.n_tensors > MAX_TABLE || p.n_ops > MAX_OPS || p.n_slots > MAX_SLOTS || p.n_iargs > MAX_ARGS) continue;
    credence_plan_desc desc = desc_of(&p);
    credence_plan *plan = NULL;
    int32_t status = b->plan_open(device, &desc, &plan, &err);
    CHECK((status == CREDENCE_OK) == (plan != NULL));
    CHECK(status == CREDENCE_OK || (err.code == status && err.msg[0] != '\0'));
    if (plan == NULL) continue;
    credence_slot slots[MAX_SLOTS] = {{0}};
    bool small = true;
    for (uint32_t k = 0; k < p.n_slots; k++) small = small && p.slot_bytes[k] <= 1 << 20;
    for (uint32_t k = 0; k < p.n_slots && small; k++) { /* exactly as large as the plan says */
      CHECK_STATUS(b->buffer_alloc(device, p.slot_bytes[k], 0, &slots[k].buffer, &err), CREDENCE_OK, &err);
      slots[k].size = p.slot_bytes[k];
    }
    for (int at = 0; at < 3 && small; at++) {
      int64_t iargs[MAX_ARGS];
      double fargs[MAX_ARGS] = {1, 2, 3, 4};
      for (uint32_t k = 0; k < p.n_iargs; k++)
        iargs[k] = at == 0   ? p.iarg_max[k]
                   : at == 1 ? p.iarg_min[k]
                             : p.iarg_min[k] + (p.iarg_max[k] - p.iarg_min[k]) / 2;
      static uint64_t tag;
      status = b->stream_submit(stream, plan, ++tag, slots, p.n_slots, iargs, p.n_iargs, fargs, p.n_fargs, &err);
      CHECK_STATUS(status, CREDENCE_OK, &err);
      accepted++;
    }
    for (uint32_t k = 0; k < p.n_slots && small; k++) b->buffer_free(slots[k].buffer);
    b->plan_close(plan);
  }
  b->stream_close(stream);
  printf("damage: %d of %d submissions ran\n", accepted, 3 * rounds);
  CHECK(accepted > rounds / 10); /* else the damage proves nothing */
}

int main(int argc, char **argv) {
  b = credence_backend_entry();
  CHECK_STATUS(b->device_open(0, 2, &device, &err), CREDENCE_OK, &err);
  one_wrong_thing();
  null_tables();
  parts();
  damage(argc > 1 ? strtoull(argv[1], NULL, 10) : 1, 50000);
  b->device_close(device);
  return report("plan_test");
}
