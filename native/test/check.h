/* check.h: all that the C and C++ tests need. A failed CHECK is told and counted; main returns what report() says. */
#ifndef CREDENCE_TEST_CHECK_H
#define CREDENCE_TEST_CHECK_H

#include <stdio.h>

#ifdef __cplusplus
#include <atomic>
static std::atomic<int> check_failures;
#else
#include <stdatomic.h>
static _Atomic int check_failures;
#endif

#define CHECK(condition) \
  ((condition)           \
       ? (void)0         \
       : (void)(atomic_fetch_add(&check_failures, 1), fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition)))

/* A call that must return status; tells what it said otherwise. */
#define CHECK_STATUS(call, status, err)                                                              \
  do {                                                                                               \
    int got_ = (call);                                                                               \
    if (got_ != (status)) {                                                                          \
      atomic_fetch_add(&check_failures, 1);                                                          \
      fprintf(stderr, "%s:%d: %s: status %d, not %d: %s\n", __FILE__, __LINE__, #call, got_, status, \
              got_ == 0 ? "" : (err)->msg);                                                          \
    }                                                                                                \
  } while (0)

static inline int report(const char *name) {
  int n = atomic_load(&check_failures);
  printf("%s: %s (%d failures)\n", name, n == 0 ? "ok" : "FAILED", n);
  return n == 0 ? 0 : 1;
}

#endif
