/* The core's own tables, in host memory. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define ALIGN 64u

bool cr_size_add(size_t *total, uint64_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(bytes, ALIGN - 1, &bytes)) return false;
  return !__builtin_add_overflow(*total, bytes / ALIGN * ALIGN, total);
}

void *cr_take(char **at, uint64_t n, size_t size) {
  size_t bytes = 0;
  void *p = *at;
  cr_size_add(&bytes, n, size); /* was proven to fit when the block was measured */
  *at += bytes;
  return p;
}

void *cr_alloc(credence_device *device, size_t bytes, const char *what, credence_error *err) {
  void *p = NULL;
  if (bytes == 0) bytes = 1;
  if (device != NULL && cr_fault(&device->faults.alloc)) {
    cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for %s: %zu bytes (injected)", what, bytes);
    return NULL;
  }
  /* not rounded up: sanitizers then see the first byte beyond */
  if (bytes > PTRDIFF_MAX || posix_memalign(&p, ALIGN, bytes) != 0) {
    cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for %s: %zu bytes", what, bytes);
    return NULL;
  }
  memset(p, 0, bytes);
  return p;
}

void cr_free(void *p) { free(p); }
