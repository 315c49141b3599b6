/* Buffers and copies. On a CPU a copy is complete when the call returns. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"

#define HUGE_PAGE (2u << 20)
#define MAP_FROM (4u << 20) /* buffers of at least this size are mapped, with huge pages where granted */

/* A number in a file of one line, or 0. "max" and what is not a number are 0. */
static uint64_t number_in(const char *path) {
  unsigned long long v = 0;
  FILE *f = fopen(path, "re");
  if (f == NULL) return 0;
  if (fscanf(f, "%llu", &v) != 1) v = 0;
  fclose(f);
  return v;
}

void cr_memory_info(uint64_t *total, uint64_t *available) {
  unsigned long long v;
  char line[128];
  *total = *available = 0;
  FILE *f = fopen("/proc/meminfo", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    if (sscanf(line, "MemTotal: %llu kB", &v) == 1) *total = v * 1024;
    if (sscanf(line, "MemAvailable: %llu kB", &v) == 1) *available = v * 1024;
  }
  if (f != NULL) fclose(f);
  uint64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit == 0) {
    limit = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    used = number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  }
  if (limit == 0 || limit >= *total) return;
  *total = limit;
  uint64_t left = used < limit ? limit - used : 0;
  if (left < *available) *available = left;
}

/* Maps zero pages at a huge-page boundary, so that the whole of a large buffer can lie in huge pages. */
static char *map_pages(uint64_t bytes, uint64_t *mapped) {
  uint64_t size, span;
  if (__builtin_add_overflow(bytes, HUGE_PAGE - 1, &size)) return NULL;
  size = size / HUGE_PAGE * HUGE_PAGE;
  if (__builtin_add_overflow(size, HUGE_PAGE, &span) || span > PTRDIFF_MAX) return NULL;
  char *p = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  uint64_t head = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
  if (head != 0) munmap(p, head);
  if (span - head != size) munmap(p + head + size, span - head - size);
  madvise(p + head, size, MADV_HUGEPAGE); /* a wish: not every kernel has them */
  *mapped = size;
  return p + head;
}

int32_t cr_buffer_alloc(credence_device *device, uint64_t bytes, uint32_t flags, credence_buffer **out,
                        credence_error *err) {
  int32_t status = cr_check_buffer_alloc(device, flags, out, err);
  if (status != CREDENCE_OK) return status;
  if (bytes >= MAP_FROM) { /* the kernel promises more than there is, and kills the process later */
    uint64_t total, available;
    cr_memory_info(&total, &available);
    if (total != 0 && bytes > total)
      return cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a buffer of %llu bytes: there are %llu in all",
                     (unsigned long long)bytes, (unsigned long long)total);
  }
  cpu_buffer *b = cr_alloc(device, sizeof *b, "a buffer's record", err);
  if (b == NULL) return CREDENCE_OUT_OF_MEMORY;
  if (bytes < MAP_FROM) {
    b->base.data = cr_alloc(device, bytes, "a buffer", err);
  } else if (cr_fault(&device->faults.alloc)) {
    cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a buffer: %llu bytes (injected)", (unsigned long long)bytes);
  } else if ((b->base.data = map_pages(bytes, &b->mapped)) == NULL) {
    cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a buffer: %llu bytes", (unsigned long long)bytes);
  }
  if (b->base.data == NULL) {
    cr_free(b);
    return CREDENCE_OUT_OF_MEMORY;
  }
  b->base.bytes = bytes;
  b->base.device = device;
  cr_device_retain(device);
  *out = &b->base;
  return CREDENCE_OK;
}

int32_t cr_buffer_wrap(credence_device *device, const void *host, uint64_t bytes, credence_buffer **out,
                       credence_error *err) {
  int32_t status = cr_check_buffer_wrap(device, host, bytes, out, err);
  if (status != CREDENCE_OK) return status;
  cpu_buffer *b = cr_alloc(device, sizeof *b, "a buffer's record", err);
  if (b == NULL) return CREDENCE_OUT_OF_MEMORY;
  b->base.data = (char *)(uintptr_t)host; /* never written: read_only is checked wherever a buffer is written */
  b->base.bytes = bytes;
  b->base.read_only = true;
  b->base.device = device;
  cr_device_retain(device);
  *out = &b->base;
  return CREDENCE_OK;
}

void cr_buffer_free(credence_buffer *b) {
  if (b == NULL) return;
  const uint64_t mapped = ((const cpu_buffer *)b)->mapped;
  if (mapped != 0)
    munmap(b->data, mapped);
  else if (!b->read_only)
    cr_free(b->data);
  cr_device_release(b->device);
  cr_free(b);
}

void *cr_buffer_host(credence_buffer *b) { return b == NULL ? NULL : b->data; }

int32_t cr_buffer_write(credence_stream *stream, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                        credence_error *err) {
  int32_t status = cr_check_copy("buffer_write", stream, dst, offset, bytes, true, err);
  if (status != CREDENCE_OK || bytes == 0) return status;
  if (src == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_write: null source");
  memmove(dst->data + offset, src, bytes);
  return CREDENCE_OK;
}

int32_t cr_buffer_read(credence_stream *stream, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                       credence_error *err) {
  int32_t status = cr_check_copy("buffer_read", stream, src, offset, bytes, false, err);
  if (status != CREDENCE_OK || bytes == 0) return status;
  if (dst == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_read: null destination");
  memmove(dst, src->data + offset, bytes);
  return CREDENCE_OK;
}

int32_t cr_buffer_copy(credence_stream *stream, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                       uint64_t src_offset, uint64_t bytes, credence_error *err) {
  int32_t status = cr_check_copy("buffer_copy", stream, dst, dst_offset, bytes, true, err);
  if (status == CREDENCE_OK) status = cr_check_copy("buffer_copy", stream, src, src_offset, bytes, false, err);
  if (status != CREDENCE_OK || bytes == 0) return status;
  memmove(dst->data + dst_offset, src->data + src_offset, bytes);
  return CREDENCE_OK;
}
