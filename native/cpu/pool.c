/* The worker pool. A device of n threads has n - 1 workers; a thread that submits is the n-th for its own calls.
 * Several streams may call cr_parallel at once: each call is a job, and idle workers join whatever job is open.
 *
 * A job's gate counts the workers inside it and tells whether more may enter. The owner opens the gate, works itself,
 * closes it and waits until the last worker has left; so a job's data is never read after cr_parallel returns. Tasks
 * are handed out in ascending order by one counter. Idle workers watch the pool's epoch, which changes whenever a job
 * is opened: a short while actively, then asleep. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "device.h"

#define JOBS 64        /* calls that may be open at once; one more runs on its own thread alone */
#define SPIN_NS 20000  /* how long an idle thread watches before it sleeps */
#define WAKE_AT_ONCE 2 /* each woken worker wakes that many others, so that waking many takes logarithmic time */

enum { GATE_OPEN = 1u << 31, GATE_OWNER_SLEEPS = 1u << 30, GATE_TAKEN = 1u << 29, GATE_INSIDE = (1u << 29) - 1 };

typedef struct job {
  _Alignas(64) _Atomic uint32_t gate; /* 0: free */
  _Atomic int32_t joined;             /* workers that ever entered, the owner included */
  _Atomic int32_t to_wake;
  _Atomic int64_t n; /* written before the gate opens, but a late worker may look at it */
  cr_task_fn task;
  void *arg;
  const cr_ctx *ctx;
  int32_t limit; /* on the number of threads inside, the owner included */
  _Atomic bool cancelled;
  pthread_mutex_t lock; /* of what follows */
  int64_t failed;
  int32_t status;
  credence_error error;
  _Alignas(64) _Atomic int64_t next;
} job;

struct cr_pool {
  _Alignas(64) _Atomic uint32_t epoch; /* odd or even means nothing: it only changes */
  _Atomic bool stop;
  _Alignas(64) _Atomic int32_t sleepers;
  _Atomic int32_t watchers;
  _Atomic int32_t jobs_used; /* jobs[0 .. jobs_used) have been in use */
  int32_t threads;
  pthread_t *workers;
  job jobs[JOBS];
};

/* The worker that the calling thread is, while it runs tasks; -1 outside: a cr_parallel inside a task runs there. */
static _Thread_local int32_t current_worker = -1;

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int32_t count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

uint32_t cr_float_default(void) {
#if defined(__x86_64__)
  uint32_t state = _mm_getcsr();
  if ((state & 0xffc0u) != 0x1f80u) _mm_setcsr(0x1f80u);
  return state;
#elif defined(__aarch64__)
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  if (state != 0) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
  return (uint32_t)state;
#else
  return 0;
#endif
}

void cr_float_restore(uint32_t state) {
#if defined(__x86_64__)
  if ((state & 0xffc0u) != 0x1f80u) _mm_setcsr(state);
#elif defined(__aarch64__)
  if (state != 0) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)state));
#else
  (void)state;
#endif
}

/* Runs tasks of a job until none is left, one fails or the submission is cancelled. */
static void work(job *j, int32_t worker) {
  const int64_t n = atomic_load_explicit(&j->n, memory_order_relaxed);
  current_worker = worker;
  for (;;) {
    int64_t index = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
    if (index >= n) break;
    if (cr_cancelled(j->ctx)) {
      atomic_store_explicit(&j->cancelled, true, memory_order_relaxed);
      atomic_store_explicit(&j->next, n, memory_order_relaxed);
      break;
    }
    credence_error error;
    int32_t status = j->task(j->arg, index, worker, &error);
    if (status == CREDENCE_OK) continue;
    pthread_mutex_lock(&j->lock);
    if (index < j->failed) { /* all lower tasks were handed out before, so the lowest failure is always found */
      j->failed = index;
      j->status = status;
      j->error = error;
    }
    pthread_mutex_unlock(&j->lock);
    atomic_store_explicit(&j->next, n, memory_order_relaxed);
    break;
  }
  current_worker = -1;
}

static void wake_some(cr_pool *pool, job *j) {
  if (atomic_load(&pool->sleepers) == 0) return;
  int32_t count = atomic_fetch_sub(&j->to_wake, WAKE_AT_ONCE);
  if (count <= 0) return;
  futex_wake(&pool->epoch, count < WAKE_AT_ONCE ? count : WAKE_AT_ONCE);
}

/* Enters the job if it is open and has work left; runs tasks; leaves. */
static bool join(cr_pool *pool, job *j) {
  uint32_t gate = atomic_load_explicit(&j->gate, memory_order_acquire);
  do {
    if ((gate & GATE_OPEN) == 0) return false;
    if (atomic_load_explicit(&j->next, memory_order_relaxed) >= atomic_load_explicit(&j->n, memory_order_relaxed))
      return false;
  } while (
      !atomic_compare_exchange_weak_explicit(&j->gate, &gate, gate + 1, memory_order_acquire, memory_order_acquire));
  wake_some(pool, j);
  int32_t worker = atomic_fetch_add_explicit(&j->joined, 1, memory_order_relaxed);
  bool worked = worker < j->limit;
  if (worked) work(j, worker);
  gate = atomic_fetch_sub_explicit(&j->gate, 1, memory_order_acq_rel);
  if ((gate & GATE_INSIDE) == 1 && (gate & GATE_OWNER_SLEEPS)) futex_wake(&j->gate, 1);
  return worked;
}

/* Watches a word until (*word & mask) != value or the time is over. */
static bool watch(_Atomic uint32_t *word, uint32_t mask, uint32_t value) {
  uint64_t end = 0;
  for (uint32_t k = 1;; k++) {
    if ((atomic_load_explicit(word, memory_order_acquire) & mask) != value) return true;
    pause_briefly();
    if (k % 32 != 0) continue;
    uint64_t now = cr_now();
    if (end == 0) end = now + SPIN_NS;
    if (now >= end) return false;
  }
}

static void *worker_main(void *argument) {
  cr_pool *pool = argument;
  cr_float_default();
  for (uint32_t turn = 0;; turn++) {
    uint32_t seen = atomic_load(&pool->epoch);
    if (atomic_load(&pool->stop)) return NULL;
    bool worked = false;
    uint32_t used = (uint32_t)atomic_load(&pool->jobs_used);
    for (uint32_t k = 0; k < used; k++) /* start elsewhere each time, so that no stream is always last */
      worked |= join(pool, &pool->jobs[(turn + k) % used]);
    if (worked) continue;
    atomic_fetch_add(&pool->watchers, 1);
    bool changed = watch(&pool->epoch, UINT32_MAX, seen);
    atomic_fetch_sub(&pool->watchers, 1);
    if (changed) continue;
    /* cr_parallel changes the epoch, then reads sleepers; here it is the other way round: one of both sees the other */
    atomic_fetch_add(&pool->sleepers, 1);
    futex_wait(&pool->epoch, seen);
    atomic_fetch_sub(&pool->sleepers, 1);
  }
}

int32_t cr_pool_open(int32_t threads, cr_pool **out, credence_error *err) {
  cr_pool *pool = cr_alloc(NULL, sizeof *pool, "the thread pool", err);
  if (pool == NULL) return CREDENCE_OUT_OF_MEMORY;
  pool->threads = 1;
  for (int32_t k = 0; k < JOBS; k++) pthread_mutex_init(&pool->jobs[k].lock, NULL);
  pool->workers = cr_alloc(NULL, (size_t)threads * sizeof *pool->workers, "the thread pool", err);
  if (pool->workers == NULL) {
    cr_pool_close(pool);
    return CREDENCE_OUT_OF_MEMORY;
  }
  sigset_t all, before; /* signals are the host's: its own threads take them */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int32_t status = CREDENCE_OK;
  for (int32_t k = 1; k < threads; k++) {
    int rc = pthread_create(&pool->workers[k - 1], NULL, worker_main, pool);
    if (rc != 0) {
      status = cr_fail(err, CREDENCE_INTERNAL, "thread %d of %d did not start: %s", k + 1, threads,
                       rc == EAGAIN ? "the limit on threads or memory is reached" : "pthread_create failed");
      if (err != NULL) err->native_code = rc;
      break;
    }
    char name[32];
    snprintf(name, sizeof name, "credence-%d", k); /* the kernel keeps 15 characters: threads are at most 1024 */
    pthread_setname_np(pool->workers[k - 1], name);
    pool->threads = k + 1;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (status != CREDENCE_OK) {
    cr_pool_close(pool);
    return status;
  }
  *out = pool;
  return CREDENCE_OK;
}

void cr_pool_close(cr_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->stop, true);
  atomic_fetch_add(&pool->epoch, 1);
  futex_wake(&pool->epoch, INT_MAX);
  for (int32_t k = 1; k < pool->threads; k++) pthread_join(pool->workers[k - 1], NULL);
  for (int32_t k = 0; k < JOBS; k++) pthread_mutex_destroy(&pool->jobs[k].lock);
  cr_free(pool->workers);
  cr_free(pool);
}

static int32_t run_here(const cr_ctx *ctx, int64_t n, cr_task_fn task, void *arg, credence_error *err) {
  int32_t before = current_worker, worker = before < 0 ? 0 : before, status = CREDENCE_OK;
  current_worker = worker;
  for (int64_t index = 0; index < n && status == CREDENCE_OK; index++)
    status = cr_cancelled(ctx) ? cr_fail(err, CREDENCE_CANCELLED, "cancelled") : task(arg, index, worker, err);
  current_worker = before;
  return status;
}

static job *take_job(cr_pool *pool) {
  for (int32_t k = 0; k < JOBS; k++) {
    uint32_t expected = 0;
    if (!atomic_compare_exchange_strong_explicit(&pool->jobs[k].gate, &expected, GATE_TAKEN, memory_order_acquire,
                                                 memory_order_relaxed))
      continue;
    int32_t used = atomic_load(&pool->jobs_used);
    while (used <= k && !atomic_compare_exchange_weak(&pool->jobs_used, &used, k + 1)) {
    }
    return &pool->jobs[k];
  }
  return NULL;
}

int32_t cr_parallel(const cr_ctx *ctx, int64_t n, cr_task_fn task, void *arg, credence_error *err) {
  if (n <= 1 || ctx->threads <= 1 || current_worker >= 0) return run_here(ctx, n, task, arg, err);
  cr_pool *pool = ctx->pool;
  job *j = take_job(pool);
  if (j == NULL) return run_here(ctx, n, task, arg, err);

  int32_t limit = n < ctx->threads ? (int32_t)n : ctx->threads;
  j->task = task;
  j->arg = arg;
  j->ctx = ctx;
  j->limit = limit;
  j->failed = INT64_MAX;
  j->status = CREDENCE_OK;
  atomic_store_explicit(&j->cancelled, false, memory_order_relaxed);
  atomic_store_explicit(&j->joined, 1, memory_order_relaxed);
  atomic_store_explicit(&j->n, n, memory_order_relaxed);
  atomic_store_explicit(&j->next, 0, memory_order_relaxed);
  int32_t wake = limit - 1 - atomic_load_explicit(&pool->watchers, memory_order_relaxed);
  atomic_store_explicit(&j->to_wake, wake, memory_order_relaxed);
  atomic_store_explicit(&j->gate, GATE_TAKEN | GATE_OPEN, memory_order_release);
  atomic_fetch_add(&pool->epoch, 1);
  wake_some(pool, j);

  work(j, 0);
  uint32_t gate = atomic_fetch_and_explicit(&j->gate, ~(uint32_t)GATE_OPEN, memory_order_acq_rel);
  while ((gate & GATE_INSIDE) != 0) {
    if (watch(&j->gate, GATE_INSIDE, gate & GATE_INSIDE)) {
      gate = atomic_load_explicit(&j->gate, memory_order_acquire);
      continue;
    }
    gate = atomic_fetch_or_explicit(&j->gate, GATE_OWNER_SLEEPS, memory_order_acq_rel) | GATE_OWNER_SLEEPS;
    if ((gate & GATE_INSIDE) != 0) futex_wait(&j->gate, gate);
    gate = atomic_load_explicit(&j->gate, memory_order_acquire);
  }
  int32_t status = j->status;
  if (status != CREDENCE_OK) {
    if (err != NULL) *err = j->error;
  } else if (atomic_load_explicit(&j->cancelled, memory_order_relaxed)) {
    status = cr_fail(err, CREDENCE_CANCELLED, "cancelled");
  }
  atomic_store_explicit(&j->gate, 0, memory_order_release);
  return status;
}
