/* match_list.c: the rows that may count in a query's match; see match.h. */
#include "match.h"

static uint64_t key_of(uint32_t bits, uint32_t number) { return (uint64_t)bits << 32 | number; }

uint32_t CR_NAME(cr_match_distance)(const cr_match *m, int64_t query, int64_t number) {
  int64_t s = m->supports - 1;
  while (m->support[s].base > number) s--;
  const cr_rows *y = &m->support[s].y;
  return cr_match_bits(cr_sqdist_one(cr_row(&m->x, query), cr_row(y, number - m->support[s].base), m->d));
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

cr_match_result CR_NAME(cr_match_settle)(const cr_match *m, int64_t query, cr_match_list *list, int64_t lists) {
  cr_match_result result = {INFINITY, 0, -1};
  uint32_t nearest_hi = UINT32_MAX, breaks_hi = UINT32_MAX;
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n; i++) {
      const cr_match_row *r = &list[p].row[i];
      if (r->hi < nearest_hi) nearest_hi = r->hi;
      if (r->breaks && r->hi < breaks_hi) breaks_hi = r->hi;
    }
  }
  uint64_t nearest = UINT64_MAX, breaks = UINT64_MAX;
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n; i++) {
      cr_match_row *r = &list[p].row[i];
      if (r->lo > nearest_hi && (!r->breaks || r->lo > breaks_hi)) continue;
      settle_row(m, query, r);
      const uint64_t key = key_of(r->lo, r->number);
      if (key < nearest) nearest = key;
      if (r->breaks && key < breaks) breaks = key;
    }
  }
  /* certainly before the first that breaks, before those whose intervals hold it are looked at */
  const uint32_t end = (uint32_t)(breaks >> 32);
  int64_t q = 0;
  for (int64_t p = 0; p < lists; p++)
    for (int64_t i = 0; i < list[p].n; i++) q += !list[p].row[i].breaks && list[p].row[i].hi < end;
  for (int64_t p = 0; p < lists; p++) {
    for (int64_t i = 0; i < list[p].n && q < m->k; i++) {
      cr_match_row *r = &list[p].row[i];
      if (r->breaks || r->hi < end || r->lo > end) continue;
      settle_row(m, query, r);
      q += key_of(r->lo, r->number) < breaks;
    }
  }
  result.q = (int32_t)(q < m->k ? q : m->k);
  if (nearest != UINT64_MAX) {
    result.distance = cr_match_float((uint32_t)(nearest >> 32));
    result.nearest = (int32_t)(uint32_t)nearest;
  }
  return result;
}
