/* match.c: the operations MATCH, MATCH_CODES and MATCH_CODED: their arguments, and how the work is shared out. See
 * match.h.
 *
 * A task is a block of queries against a part of the support's rows. Parts, each with lists of its own, are several
 * only where there are too few blocks for the threads. Lists have a fixed share of memory: queries are taken in turns,
 * as many at a time as have room. */
#include "match.h"

#include "match_coded.h"
#include "match_screen.h"

enum {
  BLOCK = CR_SQ_ROWS,     /* queries of a task that computes every distance */
  TURN_FLOATS = 8 << 20,  /* most elements of queries at a time */
  PARTS = 16,             /* tasks, where there are threads and parts can make so many */
  CODED_QUERIES = 4,      /* more are faster without codes, which every query reads for itself */
  SCREEN_QUERIES = 48,    /* fewer are faster without screening: a matrix product packs the support, */
  SCREEN_ELEMENTS = 16,   /* and short rows are not worth one */
  SCREEN_SHARE = 192,     /* queries for which it is packed once, if there are several threads */
  LISTS_BYTES = 64 << 20, /* for lists, unless one alone needs more */
  LIST_HEAD = sizeof(cr_match_list)
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t turn_of(int64_t n, int64_t d) {
  return most(1, least(least(n, CR_MATCH_TURN), TURN_FLOATS / most(d, 1)));
}

/* Shared scratch but for the lists. */
static size_t fixed_bytes(int64_t turn, int64_t d) {
  return CR_NAME(cr_screen_shared)(turn, d) + (size_t)turn * sizeof(cr_match_result);
}
static int64_t list_bytes(int64_t room) { return LIST_HEAD + room * (int64_t)sizeof(cr_match_row); }

/* ---- arguments ---- */

/* The call as a match, of supports with codes or without. */
static cr_match match_of(const cr_call *call, bool coded) {
  const cr_tensor *x = &call->in[0];
  cr_match m = {.x = {x->data, x->dim[0], x->stride[0]},
                .d = x->dim[1],
                .k = call->i[0],
                .prediction = (const int32_t *)call->in[1].data,
                .exclude = (const int32_t *)call->in[2].data,
                .coded = coded};
  for (const cr_tensor *y = call->in + 3; y < call->in + call->n_in; y += coded ? 5 : 2) {
    cr_match_support *s = &m.support[m.supports++];
    *s = (cr_match_support){.y = {y->data, y->dim[0], y->stride[0]}, (const int32_t *)y[1].data, .base = m.rows};
    if (coded) {
      s->centre = (const float *)y[2].data;
      s->code = (const uint8_t *)y[3].data;
      s->fit = (const float(*)[2])(void *)y[4].data;
    }
    m.rows += y->dim[0];
  }
  m.room = cr_match_room(m.rows, m.k);
  return m;
}

static size_t spare_bytes(const cr_match *m) { return (size_t)(m->room * (int64_t)sizeof(uint64_t) + 63) / 64 * 64; }

static void scratch_of(const cr_match *m, cr_scratch *scratch) {
  const int64_t turn = turn_of(m->x.n, m->d), one = list_bytes(m->room);
  const int64_t lists = most(1, least(LISTS_BYTES / one, turn * PARTS));
  scratch->shared = (size_t)(lists * one) + fixed_bytes(turn, m->d);
  const size_t screen = CR_NAME(cr_screen_own)(turn, m->d), codes = CR_NAME(cr_coded_own)(m->d);
  scratch->per_thread = spare_bytes(m) + (screen > codes ? screen : codes);
}

static void scratch_match(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_match m = match_of(call, false);
  scratch_of(&m, scratch);
}

static void scratch_coded(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_match m = match_of(call, true);
  scratch_of(&m, scratch);
}

/* ---- every distance as it is ---- */

typedef struct match_job {
  const cr_match *m;
  cr_match_list *list;   /* [queries of the turn, parts] */
  int64_t first, rows;   /* queries of the turn */
  int64_t shares, parts; /* of queries and of rows */
  int64_t settlers;      /* shares of queries in the end */
  cr_match_result *result;
  cr_screen screen;
  int32_t *q, *nearest;
  float *distance;
} match_job;

typedef struct direct {
  const cr_match *m;
  cr_match_list *list; /* of the first query */
  int64_t query, parts;
  const cr_match_support *support;
  uint64_t *spare;
} direct;

static void add_tile(void *state, const float *tile, int64_t rows, int64_t col, int64_t cols) {
  const direct *s = state;
  for (int64_t i = 0; i < rows; i++) {
    cr_match_list *list = s->list + i * s->parts;
    for (int64_t j = 0; j < cols; j += CR_W) {
      const vf d = vf_load(tile + i * CR_SQ_COLS + j);
      uint32_t near = vi_bits(~(d > vf_set(cr_match_float(list->limit))));
      if (cols - j < CR_W) near &= (1u << (cols - j)) - 1;
      for (; near != 0; near &= near - 1) {
        const int64_t at = j + __builtin_ctz(near), row = col + at;
        const uint32_t bits = cr_match_bits(tile[i * CR_SQ_COLS + at]);
        cr_match_add(s->m, s->query + i, list, bits, bits, s->support->base + row, s->support->class_of[row], s->spare);
      }
    }
  }
}

static int32_t direct_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const match_job *job = arg;
  const cr_match *m = job->m;
  const int64_t part = index % job->parts, at = index / job->parts * BLOCK;
  const int64_t from = m->rows * part / job->parts, to = m->rows * (part + 1) / job->parts;
  direct s = {.m = m,
              .list = job->list + at * job->parts + part,
              .query = job->first + at,
              .parts = job->parts,
              .spare = (uint64_t *)cr_worker_scratch(m->ctx, worker)};
  const cr_rows x = {m->x.data + s.query * m->x.stride, least(BLOCK, job->rows - at), m->x.stride};
  for (int64_t k = 0; k < m->supports; k++) {
    s.support = &m->support[k];
    const int64_t first = most(from - s.support->base, 0), last = least(to - s.support->base, s.support->y.n);
    if (first >= last) continue;
    const int32_t status = cr_sqdist_scan(m->ctx, &x, &s.support->y, first, last, m->d, add_tile, &s, err);
    if (status != CREDENCE_OK) return status;
  }
  return CREDENCE_OK;
}

/* ---- through codes ---- */

static int32_t coded_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  enum { RUN = 1024 }; /* rows between looks for cancellation */
  const match_job *job = arg;
  const cr_match *m = job->m;
  const int64_t part = index % job->parts, at = index / job->parts;
  const int64_t from = m->rows * part / job->parts, to = m->rows * (part + 1) / job->parts;
  char *spare = cr_worker_scratch(m->ctx, worker);
  for (int64_t k = 0; k < m->supports; k++) {
    const cr_match_support *support = &m->support[k];
    const int64_t last = least(to - support->base, support->y.n);
    for (int64_t row = most(from - support->base, 0); row < last; row += RUN) {
      if (cr_cancelled(m->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "cancelled");
      CR_NAME(cr_coded_scan)
      (m, job->first + at, support, row, least(row + RUN, last), job->list + at * job->parts + part,
       spare + spare_bytes(m), (uint64_t *)spare);
    }
  }
  return CREDENCE_OK;
}

/* ---- screened ---- */

static int32_t queries_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const match_job *job = arg;
  char *own = cr_worker_scratch(job->m->ctx, worker) + spare_bytes(job->m);
  CR_NAME(cr_screen_queries)(&job->screen, index * BLOCK, least((index + 1) * BLOCK, job->rows), own);
  return CREDENCE_OK;
}

static int32_t screen_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const match_job *job = arg;
  const cr_match *m = job->m;
  const int64_t part = index % job->parts, share = index / job->parts;
  const int64_t q0 = job->rows * share / job->shares, q1 = job->rows * (share + 1) / job->shares;
  char *spare = cr_worker_scratch(m->ctx, worker);
  return CR_NAME(cr_screen_scan)(&job->screen, q0, q1, m->rows * part / job->parts, m->rows * (part + 1) / job->parts,
                                 job->list + q0 * job->parts + part, job->parts, spare + spare_bytes(m),
                                 (uint64_t *)spare, err);
}

/* ---- the operation ---- */

static int32_t settle_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const match_job *job = arg;
  const int64_t from = job->rows * index / job->settlers, to = job->rows * (index + 1) / job->settlers;
  CR_NAME(cr_match_settle)
  (job->m, job->first + from, to - from, job->list + from * job->parts, job->parts, job->result + from);
  for (int64_t i = from; i < to; i++) {
    job->q[job->first + i] = job->result[i].q;
    job->distance[job->first + i] = job->result[i].distance;
    job->nearest[job->first + i] = job->result[i].nearest;
  }
  return CREDENCE_OK;
}

/* Lays out the shared scratch: what screening needs, results, the heads of the lists, their rows. */
static void lay_out(match_job *job) {
  const cr_match *m = job->m;
  const int64_t lists = job->rows * job->parts;
  job->result = (cr_match_result *)(m->ctx->scratch + CR_NAME(cr_screen_shared)(job->rows, m->d));
  job->list = (cr_match_list *)(job->result + job->rows);
  cr_match_row *row = (cr_match_row *)(job->list + lists);
  for (int64_t i = 0; i < lists; i++, row += m->room) job->list[i] = (cr_match_list){.row = row, .limit = UINT32_MAX};
}

static int32_t run_turn(match_job *job, int64_t lists, credence_error *err) {
  const cr_match *m = job->m;
  const int64_t blocks = blocks_of(job->rows, BLOCK), most_parts = most(1, least(lists / job->rows, m->rows / BLOCK));
  const bool screened = job->rows >= SCREEN_QUERIES && m->d >= SCREEN_ELEMENTS;
  const bool coded = m->coded && job->rows <= CODED_QUERIES;
  const int64_t threads = m->ctx->threads;
  job->shares = screened ? most(1, least(threads, job->rows / SCREEN_SHARE)) : coded ? job->rows : blocks;
  job->settlers = least(blocks, threads);
  job->parts = threads == 1 ? 1 : least(most_parts, blocks_of(screened ? 2 * threads : PARTS, job->shares));
  lay_out(job);
  int32_t status = CREDENCE_OK;
  if (screened) {
    job->screen = (cr_screen){.m = m, .first = job->first, .rows = job->rows};
    CR_NAME(cr_screen_begin)(&job->screen, m->ctx->scratch);
    status = cr_parallel(m->ctx, blocks, queries_task, job, err);
  }
  const cr_task_fn task = screened ? screen_task : coded ? coded_task : direct_task;
  if (status == CREDENCE_OK) status = cr_parallel(m->ctx, job->shares * job->parts, task, job, err);
  if (status == CREDENCE_OK) status = cr_parallel(m->ctx, job->settlers, settle_task, job, err);
  return status;
}

static int32_t run(const cr_call *call, bool coded, const cr_ctx *ctx, credence_error *err) {
  /* sizes that depend on arguments must fit every time */
  int32_t status = coded ? cr_rule_match_coded(call, err) : cr_rule_match(call, err);
  if (status != CREDENCE_OK) return status;
  cr_match m = match_of(call, coded);
  m.ctx = ctx;
  match_job job = {.m = &m,
                   .q = (int32_t *)call->out[0].data,
                   .distance = (float *)call->out[1].data,
                   .nearest = (int32_t *)call->out[2].data};
  const int64_t turn = turn_of(m.x.n, m.d);
  const int64_t bytes = (int64_t)(ctx->scratch_shared - fixed_bytes(turn, m.d));
  const int64_t lists = most(1, bytes / list_bytes(m.room));
  for (; job.first < m.x.n && status == CREDENCE_OK; job.first += job.rows) {
    job.rows = least(least(turn, lists), m.x.n - job.first);
    status = run_turn(&job, lists, err);
  }
  return status;
}

static int32_t run_match(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, false, ctx, err);
}

static int32_t run_coded(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, true, ctx, err);
}

/* ---- making codes ---- */

static int32_t make_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const cr_call *call = arg;
  const cr_rows y = {call->in[0].data, call->in[0].dim[0], call->in[0].stride[0]};
  const int64_t d = call->in[0].dim[1];
  for (int64_t j = index * BLOCK; j < least((index + 1) * BLOCK, y.n); j++) CR_NAME(cr_match_code)
  (cr_row(&y, j), (const float *)call->in[1].data, d, (uint8_t *)call->out[0].data + j * d,
   (float *)call->out[1].data + 2 * j);
  return CREDENCE_OK;
}

static int32_t run_make(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  cr_call copy = *call;
  return cr_spread(ctx, cr_count(&call->in[0]), blocks_of(call->in[0].dim[0], BLOCK), make_task, &copy, err);
}

CR_FAMILY(match, {CREDENCE_OP_MATCH, .scratch = scratch_match, .run = run_match},
          {CREDENCE_OP_MATCH_CODES, .run = run_make},
          {CREDENCE_OP_MATCH_CODED, .scratch = scratch_coded, .run = run_coded})
