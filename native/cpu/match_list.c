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

enum { AHEAD = 4, LINE = 64 };

/* A match while its open rows are settled: the first rows first, then those that may come before the one that breaks.
 */
typedef struct settling {
  const cr_match *m;
  int64_t query;
  uint64_t nearest, breaks; /* keys of the first row, and of the first that breaks, so far */
  bool count;
  int64_t q;
  int64_t waiting;
  cr_match_row *row[AHEAD]; /* on their way from memory */
} settling;

/* Whether a row may be the first, or the first that breaks. */
static bool may_be_first(const settling *s, const cr_match_row *r) {
  return r->lo <= s->nearest >> 32 || (r->breaks && r->lo <= s->breaks >> 32);
}

static void settle_one(settling *s, cr_match_row *r) {
  if (!s->count && !may_be_first(s, r)) return;
  settle_row(s->m, s->query, r);
  const uint64_t key = key_of(r->lo, r->number);
  s->q += s->count && key < s->breaks;
  if (s->count) return;
  if (key < s->nearest) s->nearest = key;
  if (r->breaks && key < s->breaks) s->breaks = key;
}

static void settle_waiting(settling *s) {
  for (int64_t i = 0; i < s->waiting; i++) settle_one(s, s->row[i]);
  s->waiting = 0;
}

/* Rows lie anywhere in memory: a few are fetched at a time. */
static void settle_soon(settling *s, cr_match_row *r) {
  if (r->lo == r->hi) {
    settle_one(s, r);
    return;
  }
  const char *y = (const char *)row_of(s->m, r->number);
  for (int64_t at = 0; at < s->m->d * 4; at += LINE) __builtin_prefetch(y + at);
  s->row[s->waiting++] = r;
  if (s->waiting == AHEAD) settle_waiting(s);
}

cr_match_result CR_NAME(cr_match_settle)(const cr_match *m, int64_t query, cr_match_list *list, int64_t lists) {
  settling s = {.m = m, .query = query, .nearest = UINT64_MAX, .breaks = UINT64_MAX};
  cr_match_row *nearest = NULL, *breaks = NULL; /* by the upper ends: likely to be the first */
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n; i++) {
      cr_match_row *r = &list[p].row[i];
      if (nearest == NULL || r->hi < nearest->hi) nearest = r;
      if (r->breaks && (breaks == NULL || r->hi < breaks->hi)) breaks = r;
    }
  }
  if (nearest == NULL) return (cr_match_result){INFINITY, 0, -1};
  settle_one(&s, nearest);
  if (breaks != NULL) settle_one(&s, breaks);
  for (int64_t p = 0; p < lists; p++)
    for (int64_t i = 0; i < list[p].n; i++)
      if (may_be_first(&s, &list[p].row[i])) settle_soon(&s, &list[p].row[i]);
  settle_waiting(&s);

  const uint32_t end = (uint32_t)(s.breaks >> 32);
  s.count = true;
  for (int64_t p = 0; p < lists; p++)
    for (int64_t i = 0; i < list[p].n; i++) s.q += !list[p].row[i].breaks && list[p].row[i].hi < end;
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n && s.q < m->k; i++) {
      cr_match_row *r = &list[p].row[i];
      if (!r->breaks && r->hi >= end && r->lo <= end) settle_soon(&s, r);
    }
  }
  settle_waiting(&s);
  return (cr_match_result){cr_match_float((uint32_t)(s.nearest >> 32)), (int32_t)(s.q < m->k ? s.q : m->k),
                           (int32_t)(uint32_t)s.nearest};
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
