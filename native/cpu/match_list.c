/* match_list.c: the rows that may count in a query's match; see match.h. */
#include "match.h"

static uint64_t key_of(uint32_t bits, uint32_t number) { return (uint64_t)bits << 32 | number; }

static const float *row_of(const cr_match *m, int64_t number) {
  int64_t s = m->supports - 1;
  while (m->support[s].base > number) s--;
  return cr_row(&m->support[s].y, number - m->support[s].base);
}

uint32_t CR_NAME(cr_match_distance)(const cr_match *m, int64_t query, int64_t number) {
  return cr_match_bits(cr_sqdist_one(cr_row(&m->x, query), row_of(m, number), m->d));
}

static void settle_row(const cr_match *m, int64_t query, cr_match_row *row) {
  if (row->lo != row->hi) row->lo = row->hi = CR_NAME(cr_match_distance)(m, query, row->number);
}

/* The k-th smallest (from 0) of n distinct numbers, by Hoare's selection; reorders them. */
static uint64_t select_kth(uint64_t *v, int64_t n, int64_t k) {
  int64_t from = 0, to = n - 1;
  while (from < to) {
    const uint64_t a = v[from], b = v[(from + to) / 2], c = v[to];
    const uint64_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    int64_t i = from, j = to;
    while (i <= j) {
      while (v[i] < pivot) i++;
      while (v[j] > pivot) j--;
      if (i > j) break;
      const uint64_t t = v[i];
      v[i++] = v[j];
      v[j--] = t;
    }
    if (k <= j)
      to = j;
    else if (k >= i)
      from = i;
    else
      break;
  }
  return v[k];
}

/* The key of the K-th good row by the upper ends of the intervals; UINT64_MAX: there are fewer. */
static uint64_t last_that_counts(const cr_match *m, const cr_match_list *list, uint64_t *spare) {
  int64_t good = 0;
  for (int64_t i = 0; i < list->n; i++)
    if (!list->row[i].breaks) spare[good++] = key_of(list->row[i].hi, list->row[i].number);
  return good < m->k ? UINT64_MAX : select_kth(spare, good, m->k - 1);
}

/* Keeps the rows before or at a key, an interval if its lower end is. */
static void keep(cr_match_list *list, uint64_t last) {
  int64_t n = 0;
  for (int64_t i = 0; i < list->n; i++) {
    const cr_match_row r = list->row[i];
    if ((r.lo == r.hi ? key_of(r.lo, r.number) : key_of(r.lo, 0)) <= last) list->row[n++] = r;
  }
  list->n = n;
  const uint32_t limit = (uint32_t)(last >> 32);
  if (limit < list->limit) list->limit = limit;
}

void CR_NAME(cr_match_cut)(const cr_match *m, int64_t query, cr_match_list *list, uint64_t *spare) {
  keep(list, key_of(list->limit, UINT32_MAX));
  keep(list, last_that_counts(m, list, spare));
  if (list->n <= m->room - (m->room - m->k) / 2) return;
  /* Too many intervals overlap, as those of equal rows do. Exact distances leave at most K good rows and one more. */
  uint64_t breaks = UINT64_MAX;
  for (int64_t i = 0; i < list->n; i++) {
    cr_match_row *r = &list->row[i];
    settle_row(m, query, r);
    const uint64_t key = key_of(r->lo, r->number);
    if (r->breaks && key < breaks) breaks = key;
  }
  keep(list, breaks);
  keep(list, last_that_counts(m, list, spare));
}

/* ---- the end ---- */

enum {
  AHEAD = 2 * CR_SQ_RY, /* rows on their way */
  LINE = 64,
  SWEEP_QUERIES = 768 << 10, /* bytes of queries that settle what they leave open in turns, over */
  SWEEP_ROWS = 4 << 20       /* bytes of rows, few of which are open: both stay in the second-level cache */
};

/* Rows on their way from memory: they lie anywhere, and a few are fetched, and computed, at a time. */
typedef struct waiting {
  const cr_match *m;
  int64_t n;
  cr_match_row *row[AHEAD];
  const float *x[AHEAD], *y[AHEAD];
  cr_match_result *result[AHEAD]; /* of the query */
} waiting;

/* Adds a row; whether it was the last that has room. */
static bool wait_for(waiting *w, const float *x, cr_match_row *row, cr_match_result *result) {
  const float *y = row_of(w->m, row->number);
  for (int64_t at = 0; at < w->m->d; at += LINE / 4) __builtin_prefetch(y + at);
  w->row[w->n] = row, w->x[w->n] = x, w->y[w->n] = y, w->result[w->n] = result;
  return ++w->n == AHEAD;
}

/* The distances of all that wait become known. */
static void settle_rows(waiting *w) {
  for (int64_t i = 0; i < w->n; i += CR_SQ_RY) {
    float d[CR_SQ_RY];
    for (int64_t k = w->n; k < i + CR_SQ_RY; k++) w->x[k] = w->x[i], w->y[k] = w->y[i];
    cr_sqdist_pairs(w->x + i, w->y + i, w->m->d, d);
    for (int64_t k = i; k < w->n && k < i + CR_SQ_RY; k++) w->row[k]->lo = w->row[k]->hi = cr_match_bits(d[k - i]);
  }
}

static uint64_t key_of_row(const cr_match_row *r) { return key_of(r->lo, r->number); }

/* A match while the first row, and the first that breaks, are found. */
typedef struct settling {
  uint64_t nearest, breaks; /* keys, so far */
  waiting w;
} settling;

static bool may_be_first(const settling *s, const cr_match_row *r) {
  return r->lo <= s->nearest >> 32 || (r->breaks && r->lo <= s->breaks >> 32);
}

static void know(settling *s, const cr_match_row *r) {
  const uint64_t key = key_of_row(r);
  if (key < s->nearest) s->nearest = key;
  if (r->breaks && key < s->breaks) s->breaks = key;
}

static void settle_firsts(settling *s) {
  settle_rows(&s->w);
  for (int64_t i = 0; i < s->w.n; i++) know(s, s->w.row[i]);
  s->w.n = 0;
}

static void settle_soon(settling *s, const float *x, cr_match_row *r) {
  if (r->lo == r->hi)
    know(s, r);
  else if (wait_for(&s->w, x, r, NULL))
    settle_firsts(s);
}

/* The first rows of a query, and how many good rows are surely before the one that breaks. */
static cr_match_result settle_first(const cr_match *m, int64_t query, const cr_match_list *list, int64_t lists) {
  settling s = {.nearest = UINT64_MAX, .breaks = UINT64_MAX, .w.m = m};
  const float *x = cr_row(&m->x, query);
  cr_match_row *nearest = NULL, *breaks = NULL; /* by the upper ends: likely to be the first */
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n; i++) {
      cr_match_row *r = &list[p].row[i];
      if (nearest == NULL || r->hi < nearest->hi) nearest = r;
      if (r->breaks && (breaks == NULL || r->hi < breaks->hi)) breaks = r;
    }
  }
  if (nearest == NULL) return (cr_match_result){.distance = INFINITY, .nearest = -1, .breaks = UINT64_MAX};
  settle_soon(&s, x, nearest);
  if (breaks != NULL && breaks != nearest) settle_soon(&s, x, breaks);
  settle_firsts(&s);
  for (int64_t p = 0; p < lists; p++)
    for (int64_t i = 0; i < list[p].n; i++)
      if (may_be_first(&s, &list[p].row[i])) settle_soon(&s, x, &list[p].row[i]);
  settle_firsts(&s);

  const uint32_t end = (uint32_t)(s.breaks >> 32);
  int64_t q = 0;
  for (int64_t p = 0; p < lists; p++)
    for (int64_t i = 0; i < list[p].n; i++) q += !list[p].row[i].breaks && list[p].row[i].hi < end;
  return (cr_match_result){cr_match_float((uint32_t)(s.nearest >> 32)), (int32_t)(q < m->k ? q : m->k),
                           (int32_t)(uint32_t)s.nearest, s.breaks};
}

static void count(const cr_match *m, cr_match_result *r, const cr_match_row *row) {
  r->q += r->q < m->k && key_of_row(row) < r->breaks;
}

static void count_waiting(waiting *w) {
  settle_rows(w);
  for (int64_t i = 0; i < w->n; i++) count(w->m, w->result[i], w->row[i]);
  w->n = 0;
}

/* Counts good rows of a list below number to, if their intervals hold the distance of the row that breaks. */
static void count_below(waiting *w, int64_t query, cr_match_list *list, int64_t to, cr_match_result *r) {
  const uint32_t end = (uint32_t)(r->breaks >> 32);
  const float *x = cr_row(&w->m->x, query);
  for (; list->counted < list->n && list->row[list->counted].number < to; list->counted++) {
    cr_match_row *row = &list->row[list->counted];
    if (row->breaks || row->hi < end || row->lo > end || r->q == w->m->k) continue;
    if (row->lo == row->hi)
      count(w->m, r, row);
    else if (wait_for(w, x, row, r))
      count_waiting(w);
  }
}

/* Queries first .. by prediction: those with the same one have the same neighbours. Shell's sort. */
static void order_queries(const cr_match *m, int64_t first, int64_t queries, uint64_t *order) {
  for (int64_t i = 0; i < queries; i++) order[i] = key_of((uint32_t)m->prediction[first + i], (uint32_t)i);
  for (int64_t gap = queries / 2; gap > 0; gap /= 2) {
    for (int64_t i = gap; i < queries; i++) {
      const uint64_t v = order[i];
      int64_t at = i;
      for (; at >= gap && order[at - gap] > v; at -= gap) order[at] = order[at - gap];
      order[at] = v;
    }
  }
}

void CR_NAME(cr_match_settle)(const cr_match *m, int64_t first, int64_t queries, cr_match_list *list, int64_t lists,
                              cr_match_result *result) {
  for (int64_t i = 0; i < queries; i++) result[i] = settle_first(m, first + i, list + i * lists, lists);
  /* What is open then is most of the work, and mostly reading. Queries of one neighbourhood leave the same rows open.
   */
  uint64_t order[CR_MATCH_TURN];
  order_queries(m, first, queries, order);
  const int64_t group = 1 + SWEEP_ROWS / 4 / (m->d + 1), block = 1 + SWEEP_QUERIES / 4 / (m->d + 1);
  waiting w = {.m = m};
  for (int64_t from = 0; from < queries; from += block) {
    for (int64_t to = group; to < m->rows + group; to += group) {
      for (int64_t k = from; k < queries && k < from + block; k++) {
        const int64_t i = (int64_t)(uint32_t)order[k];
        for (int64_t p = 0; p < lists; p++) count_below(&w, first + i, &list[i * lists + p], to, &result[i]);
      }
    }
  }
  count_waiting(&w);
}

int64_t CR_NAME(cr_match_open)(const cr_match_list *list) {
  uint32_t nearest = UINT32_MAX, breaks = UINT32_MAX; /* where the first rows are likely to be */
  for (int64_t i = 0; i < list->n; i++) {
    const cr_match_row *r = &list->row[i];
    const uint32_t middle = r->lo + (r->hi - r->lo) / 2;
    if (middle < nearest) nearest = middle;
    if (r->breaks && middle < breaks) breaks = middle;
  }
  int64_t open = 0;
  for (int64_t i = 0; i < list->n; i++) {
    const cr_match_row *r = &list->row[i];
    open += r->lo < r->hi && (r->lo <= nearest || (r->lo <= breaks && r->hi >= breaks));
  }
  return open;
}
