/* The worker pool from inside: every index once, workers told apart, sleeping and waking, errors, cancellation, more
 * callers than the pool has room for. Run it under ThreadSanitizer to make it count. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "harness.h"

enum { MAX_THREADS = 8, MAX_TASKS = 300 };

typedef struct call {
  cr_ctx ctx;
  _Atomic uint64_t cancel;
  _Atomic int32_t ran[MAX_TASKS];
  _Atomic int32_t busy[MAX_THREADS]; /* a worker number belongs to one thread at a time */
  int64_t fail_at, cancel_at;        /* -1: never */
  bool nested;
  int32_t spin;
} call;

static void init_call(call *c, cr_pool *pool, int32_t threads) {
  memset(c, 0, sizeof *c);
  c->ctx = (cr_ctx){.pool = pool, .threads = threads, .cancel = &c->cancel, .tag = 1};
  c->fail_at = c->cancel_at = -1;
}

static int32_t nested_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  call *c = arg;
  CHECK(atomic_load(&c->busy[worker]) == 1); /* still the thread of the outer task */
  (void)index;
  return CREDENCE_OK;
}

static int32_t task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  call *c = arg;
  CHECK(worker >= 0 && worker < c->ctx.threads);
  CHECK(atomic_fetch_add(&c->busy[worker], 1) == 0);
  atomic_fetch_add(&c->ran[index], 1);
  for (volatile int32_t k = 0; k < c->spin; k++) {
  }
  int32_t status = CREDENCE_OK;
  if (c->nested) status = cr_parallel(&c->ctx, 3, nested_task, c, err);
  if (index == c->cancel_at) atomic_store(&c->cancel, 1);
  atomic_fetch_sub(&c->busy[worker], 1);
  if (c->fail_at >= 0 && index >= c->fail_at)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "task %lld", (long long)index);
  return status;
}

static void check_call(call *c, int64_t n) {
  credence_error err = {0};
  int32_t status = cr_parallel(&c->ctx, n, task, c, &err);
  if (c->fail_at >= 0 && c->fail_at < n) {
    char text[32];
    snprintf(text, sizeof text, "task %lld", (long long)c->fail_at);
    CHECK(status == CREDENCE_INVALID_ARGUMENT && strcmp(err.msg, text) == 0);
  } else if (c->cancel_at >= 0 && c->cancel_at < n) {
    /* other threads may have finished the rest while the cancelling task was about to */
    CHECK(status == CREDENCE_CANCELLED || c->ctx.threads > 1 || c->cancel_at + 1 == n);
  } else {
    CHECK(status == CREDENCE_OK);
  }
  for (int64_t k = 0; k < n; k++) {
    const int32_t ran = atomic_load(&c->ran[k]);
    CHECK(ran <= 1);
    CHECK(ran == 1 || status != CREDENCE_OK);
    CHECK(ran == 1 || status != CREDENCE_INVALID_ARGUMENT || k > c->fail_at); /* all below a failure ran */
  }
  for (int64_t k = n; k < MAX_TASKS; k++) CHECK(atomic_load(&c->ran[k]) == 0);
}

typedef struct caller {
  cr_pool *pool;
  int32_t threads, rounds;
  uint64_t seed;
} caller;

static void *call_often(void *arg) {
  caller me = *(caller *)arg;
  for (int32_t round = 0; round < me.rounds; round++) {
    call c;
    /* a call may ask for fewer threads than the pool has */
    init_call(&c, me.pool, draw(&me.seed) % 2 ? me.threads : (int32_t)draw_range(&me.seed, 1, me.threads));
    const int64_t n = draw_range(&me.seed, 0, draw(&me.seed) % 4 == 0 ? MAX_TASKS : 6);
    const uint64_t kind = draw(&me.seed) % 8;
    if (kind == 0) c.fail_at = draw_range(&me.seed, 0, MAX_TASKS);
    if (kind == 1) c.cancel_at = draw_range(&me.seed, 0, MAX_TASKS);
    if (kind == 2) c.nested = true;
    if (kind == 3) c.spin = 3000;
    check_call(&c, n);
    if (draw(&me.seed) % 16 == 0) { /* long enough for the workers to fall asleep */
      const struct timespec pause = {0, draw_range(&me.seed, 1, 60) * 1000};
      nanosleep(&pause, NULL);
    }
  }
  return NULL;
}

static void stress(int32_t threads, int32_t callers, int32_t rounds) {
  cr_pool *pool = NULL;
  credence_error err;
  CHECK_STATUS(cr_pool_open(threads, &pool, &err), CREDENCE_OK, &err);
  pthread_t ids[16];
  caller args[16];
  for (int32_t k = 0; k < callers; k++) {
    args[k] = (caller){pool, threads, rounds, (uint64_t)(100 * threads + k)};
    pthread_create(&ids[k], NULL, call_often, &args[k]);
  }
  for (int32_t k = 0; k < callers; k++) pthread_join(ids[k], NULL);
  cr_pool_close(pool);
}

/* Seventy calls open at once: the pool lists 64, the others run on their own threads. */
enum { CROWD = 70 };
static _Atomic int32_t arrived;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;

static int32_t wait_for_all(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  (void)err;
  call *c = arg;
  atomic_fetch_add(&c->ran[index], 1);
  if (index != 0) return CREDENCE_OK;
  pthread_mutex_lock(&gate_lock);
  if (atomic_fetch_add(&arrived, 1) + 1 == CROWD) pthread_cond_broadcast(&gate);
  while (atomic_load(&arrived) < CROWD) pthread_cond_wait(&gate, &gate_lock);
  pthread_mutex_unlock(&gate_lock);
  return CREDENCE_OK;
}

static void *call_in_crowd(void *arg) {
  call c;
  init_call(&c, arg, 2);
  credence_error err;
  CHECK_STATUS(cr_parallel(&c.ctx, 20, wait_for_all, &c, &err), CREDENCE_OK, &err);
  for (int k = 0; k < 20; k++) CHECK(atomic_load(&c.ran[k]) == 1);
  return NULL;
}

static void crowd(void) {
  cr_pool *pool = NULL;
  credence_error err;
  pthread_t ids[CROWD];
  /* A worker that takes a waiting task 0 is inside one call only, so every task 0 must find a thread: its caller, for
   * callers take tasks too; the one task that the worker may hold is counted as well. */
  CHECK_STATUS(cr_pool_open(2, &pool, &err), CREDENCE_OK, &err);
  for (int k = 0; k < CROWD; k++) pthread_create(&ids[k], NULL, call_in_crowd, pool);
  for (int k = 0; k < CROWD; k++) pthread_join(ids[k], NULL);
  cr_pool_close(pool);
}

/* A host that flushes subnormals to zero gets it back, and workers do not inherit it. */
static void float_state(void) {
  const uint32_t before = cr_float_default();
  volatile float tiny = 1e-40f;
  CHECK(tiny * 0.5f != 0);
  cr_float_restore(before);
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(before | 0x8040);
  CHECK(tiny * 0.5f == 0);
  const uint32_t flushing = cr_float_default();
  CHECK(tiny * 0.5f != 0);
  cr_float_restore(flushing);
  CHECK(tiny * 0.5f == 0);
  __builtin_ia32_ldmxcsr(before);
#endif
}

int main(void) {
  float_state();
  stress(1, 2, 300);
  stress(2, 1, 3000);
  stress(2, 4, 1000);
  stress(4, 3, 1000);
  stress(MAX_THREADS, 6, 500);
  crowd();
  for (int k = 0; k < 200; k++) stress(1 + k % 5, 1, 1);
  return report("pool_test");
}
