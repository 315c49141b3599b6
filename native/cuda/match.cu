/* match.cu: the operations MATCH, MATCH_CODES and MATCH_CODED: their arguments, scratch, and which way they go. See
 * match.cuh.
 *
 * MATCH_CODED does what MATCH does: its result is the same, and its codes are not read. They are made for a CPU, where
 * a query alone waits for memory; here a million rows of 256 elements are 1 GB, at 4.8 TB/s a fifth of a millisecond.
 */
#include "match.cuh"

using namespace cu_match;

namespace {

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

match describe(const cr_call *call, int each) {
  match m = {};
  m.x = cu_sq::rows_of(call->in[0]);
  m.d = call->in[0].dim[1];
  m.prediction = reinterpret_cast<const int32_t *>(call->in[1].data);
  m.exclude = reinterpret_cast<const int32_t *>(call->in[2].data);
  for (const cr_tensor *y = call->in + 3; y < call->in + call->n_in; y += each) {
    const int64_t base = m.rows;
    m.rows += y->dim[0];
    if (y->dim[0] > 0) m.of[m.supports++] = {cu_sq::rows_of(*y), reinterpret_cast<const int32_t *>(y[1].data), base};
  }
  m.q = reinterpret_cast<int32_t *>(call->out[0].data);
  m.distance = reinterpret_cast<float *>(call->out[1].data);
  m.nearest = reinterpret_cast<int32_t *>(call->out[2].data);
  m.k = call->i[0];
  return m;
}

/* ---- scratch ---- */

/* What a match of given sizes uses. No number falls when a size rises, but for turn and chunk, which are what fits:
 * queries at a time, and rows of a chunk, where a match is screened. rows: of a chunk, at most. */
struct needs {
  int64_t depth, rows, room, list_bytes, row_bytes, product_bytes, queries, turn, chunk;
  bool screened; /* is possible */
};

needs needs_of(const match &m) {
  needs s = {};
  s.depth = round_up(m.d, 4);
  s.queries = least(m.x.n, kTurn);
  s.rows = least(round_up(m.rows, kChunkStep), kMostChunk);
  const int64_t entry = sizeof(float) * 2 + sizeof(uint32_t), k = least(m.k, m.rows);
  const int64_t list = most(2 * k, k + kSlack) + kSegment;
  s.room = least(m.rows, list);
  s.list_bytes = least(kListBytes, s.queries * s.room * entry);
  s.row_bytes = least(kRowBytes, s.rows * s.depth * 4);
  s.product_bytes = most(least(kProductBytes, m.x.n * s.rows * 4), least(m.x.n, kFewQueries) * m.rows * 4);
  s.screened = m.x.n > kFewQueries && m.d >= kFewElements && m.rows > 0;
  if (!s.screened) return s;
  s.turn = least(s.queries, s.list_bytes / most(1, s.room * entry));
  s.chunk = least(s.rows, least(s.product_bytes / most(1, s.turn * 4), s.row_bytes / (s.depth * 4)));
  s.chunk = s.chunk / kChunkStep * kChunkStep;
  return s;
}

bool worth_screening(const match &m, const needs &s) {
  const double terms = static_cast<double>(m.x.n) * static_cast<double>(m.rows) * static_cast<double>(m.d);
  return s.screened && terms >= static_cast<double>(kFewTerms) && s.chunk > 0 && s.turn >= least(m.x.n, kLeastTurn);
}

/* Memory handed out piece by piece; from 0 on, how much it is. */
struct stack {
  uintptr_t at;

  template <class T>
  T *take(int64_t n) {
    T *taken = reinterpret_cast<T *>(at);
    at += static_cast<uintptr_t>(round_up(n * static_cast<int64_t>(sizeof(T)), 256));
    return taken;
  }
};

struct memory {
  found f;
  lists l;
  screening s;
};

memory lay_out(const match &m, const needs &s, stack *of) {
  memory r = {};
  const int64_t direct = least(m.x.n, kDirectTurn);
  r.f.nearest = of->take<cu_sq::key>(direct);
  r.f.breaks = of->take<cu_sq::key>(direct);
  r.f.count = of->take<int32_t>(direct);
  r.s.product = of->take<float>(s.product_bytes / 4);
  if (!s.screened) return r;
  r.l.n = of->take<int32_t>(s.queries);
  r.l.over = of->take<int32_t>(s.queries);
  r.l.limit = of->take<float>(s.queries);
  r.l.pick = of->take<int32_t>(s.queries);
  r.l.picked = of->take<int32_t>(1);
  r.l.lo = of->take<float>(s.list_bytes / 12);
  r.l.hi = of->take<float>(s.list_bytes / 12);
  r.l.row = of->take<uint32_t>(s.list_bytes / 12);
  r.l.room = static_cast<int>(s.room);
  r.s.depth = s.depth, r.s.chunk = s.chunk;
  r.s.centre = of->take<float>(s.depth);
  r.s.x = of->take<float>(s.queries * s.depth);
  r.s.norm = of->take<float>(s.queries);
  for (screening::rows &side : r.s.side) {
    side.y = of->take<float>(s.row_bytes / 4);
    side.norm = of->take<float>(s.rows);
    side.class_of = of->take<int32_t>(s.rows);
  }
  return r;
}

void scratch(const cr_call *call, int each, cr_scratch *asked) {
  const match m = describe(call, each);
  stack of = {};
  lay_out(m, needs_of(m), &of);
  asked->shared = of.at;
}

void scratch_match(const cr_call *call, int32_t threads, cr_scratch *asked) {
  (void)threads;
  scratch(call, 2, asked);
}

void scratch_coded(const cr_call *call, int32_t threads, cr_scratch *asked) {
  (void)threads;
  scratch(call, 5, asked);
}

/* ---- running ---- */

/* The same match for n of its queries, from first on. */
match turn_of(const match &m, int64_t first, int64_t n) {
  match t = m;
  t.x.data += first * m.x.stride;
  t.x.n = n;
  t.prediction += first, t.exclude += first;
  t.q += first, t.distance += first, t.nearest += first;
  return t;
}

int32_t run_screened(const cr_ctx *ctx, const match &m, const needs &s, memory *r, credence_error *err) {
  r->s.b = bounds_of(m.d, ctx->tf32);
  int32_t status = find_centre(ctx, m, r->s, err);
  for (int64_t first = 0; first < m.x.n && status == CREDENCE_OK; first += s.turn) {
    const match t = turn_of(m, first, least(s.turn, m.x.n - first));
    status = screen(ctx, t, r->s, r->l, r->f, err);
    if (status == CREDENCE_OK) status = settle(ctx, t, r->s.b, r->l, err);
    if (status == CREDENCE_OK) status = direct_rest(ctx, t, r->f, r->l, err);
  }
  return status;
}

int32_t run(const cr_call *call, int each, const cr_ctx *ctx, credence_error *err) {
  const match m = describe(call, each);
  const needs s = needs_of(m);
  stack of = {reinterpret_cast<uintptr_t>(ctx->scratch)};
  memory r = lay_out(m, s, &of);
  if (worth_screening(m, s)) return run_screened(ctx, m, s, &r, err);
  const int64_t turn = least(least(m.x.n, kDirectTurn), m.rows > 0 ? s.product_bytes / (m.rows * 4) : kDirectTurn);
  int32_t status = CREDENCE_OK;
  for (int64_t first = 0; first < m.x.n && status == CREDENCE_OK; first += turn)
    status = direct(ctx, turn_of(m, first, least(turn, m.x.n - first)), r.f, r.s.product, err);
  return status;
}

int32_t run_match(const cr_call *call, const cr_ctx *ctx, credence_error *err) { return run(call, 2, ctx, err); }

int32_t run_coded(const cr_call *call, const cr_ctx *ctx, credence_error *err) { return run(call, 5, ctx, err); }

}  // namespace

CU_FAMILY(match, {CREDENCE_OP_MATCH, scratch_match, run_match, 0, nullptr},
          {CREDENCE_OP_MATCH_CODES, nullptr, run_codes, 0, nullptr},
          {CREDENCE_OP_MATCH_CODED, scratch_coded, run_coded, 0, nullptr})
