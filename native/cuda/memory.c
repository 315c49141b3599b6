/* Memory of the device and of the host beside it, and copies. Pageable host memory goes through pinned slots, so that a
 * copy to the device has read its source when the call returns. */
#include "device.h"

#include <string.h>

#include "driver.h"

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static int32_t out_of_memory(const cu_device *d, uint64_t bytes, const char *what, credence_error *err) {
  size_t available = 0, total = 0;
  cudaMemGetInfo(&available, &total);
  const uint64_t missing = bytes > available ? bytes - available : 0;
  return cu_fail(err, CREDENCE_OUT_OF_MEMORY, cudaErrorMemoryAllocation,
                 "no memory for %s on %.60s: %llu bytes are needed, %llu of %llu are free, %llu are missing", what,
                 d->name, (unsigned long long)bytes, (unsigned long long)available, (unsigned long long)total,
                 (unsigned long long)missing);
}

static cudaError_t allocate(const cu_device *d, cudaStream_t stream, uint64_t bytes, void **p) {
  return d->pool != NULL ? cudaMallocFromPoolAsync(p, bytes, d->pool, stream) : cudaMalloc(p, bytes);
}

int32_t cu_memory_alloc(cu_device *d, cudaStream_t stream, uint64_t bytes, const char *what, char **out,
                        credence_error *err) {
  if (bytes == 0) bytes = 1;
  if (cr_fault(&d->base.faults.alloc))
    return cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for %s: %llu bytes (injected)", what,
                   (unsigned long long)bytes);
  void *p = NULL;
  cudaError_t error = allocate(d, stream, bytes, &p);
  if (error == cudaErrorMemoryAllocation && d->pool != NULL) { /* the pool may keep blocks that are too small */
    cudaGetLastError();
    cudaStreamSynchronize(stream);
    cudaMemPoolTrimTo(d->pool, 0);
    error = allocate(d, stream, bytes, &p);
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return out_of_memory(d, bytes, what, err);
  }
  *out = p;
  return cu_check(d, "cudaMallocFromPoolAsync", error, err);
}

void cu_memory_free(cu_device *d, cudaStream_t stream, char *memory) {
  if (memory == NULL) return;
  if (d->pool != NULL)
    cudaFreeAsync(memory, stream);
  else
    cudaFree(memory);
}

/* ---- staging ---- */

static int32_t staging_open(cu_device *d, cu_staging *s, credence_error *err) {
  if (s->memory != NULL) return CREDENCE_OK;
  void *memory = NULL;
  int32_t status =
      cu_check(d, "cudaHostAlloc",
               cudaHostAlloc(&memory, (size_t)CU_STAGING_SLOTS * CU_STAGING_BYTES, cudaHostAllocPortable), err);
  for (uint32_t k = 0; k < CU_STAGING_SLOTS && status == CREDENCE_OK; k++)
    status =
        cu_check(d, "cudaEventCreateWithFlags", cudaEventCreateWithFlags(&s->done[k], cudaEventDisableTiming), err);
  s->memory = memory;
  if (status != CREDENCE_OK) cu_staging_close(s);
  return status;
}

void cu_staging_close(cu_staging *s) {
  for (uint32_t k = 0; k < CU_STAGING_SLOTS; k++)
    if (s->done[k] != NULL) cudaEventDestroy(s->done[k]);
  if (s->memory != NULL) cudaFreeHost(s->memory);
  memset(s, 0, sizeof *s);
}

static char *slot_at(const cu_staging *s, uint32_t k) { return s->memory + (size_t)k * CU_STAGING_BYTES; }

static int32_t write_staged(cu_device *d, cu_staging *s, cudaStream_t stream, char *to, const char *from,
                            uint64_t bytes, credence_error *err) {
  int32_t status = staging_open(d, s, err);
  while (bytes > 0 && status == CREDENCE_OK) {
    const uint64_t n = smaller(bytes, CU_STAGING_BYTES);
    const uint32_t k = s->next++ % CU_STAGING_SLOTS;
    status = cu_check(d, "cudaEventSynchronize", cudaEventSynchronize(s->done[k]), err);
    if (status != CREDENCE_OK) break;
    memcpy(slot_at(s, k), from, n);
    status =
        cu_check(d, "a copy to the device", cudaMemcpyAsync(to, slot_at(s, k), n, cudaMemcpyHostToDevice, stream), err);
    if (status == CREDENCE_OK) status = cu_check(d, "cudaEventRecord", cudaEventRecord(s->done[k], stream), err);
    to += n;
    from += n;
    bytes -= n;
  }
  return status;
}

/* Keeps as many copies under way as there are slots, and takes them out in order. */
static int32_t read_staged(cu_device *d, cu_staging *s, cudaStream_t stream, char *to, const char *from, uint64_t bytes,
                           credence_error *err) {
  int32_t status = staging_open(d, s, err);
  const uint64_t chunks = (bytes + CU_STAGING_BYTES - 1) / CU_STAGING_BYTES;
  const uint32_t first = s->next;
  for (uint64_t c = 0; c < chunks + CU_STAGING_SLOTS && status == CREDENCE_OK; c++) {
    if (c >= CU_STAGING_SLOTS && c - CU_STAGING_SLOTS < chunks) {
      const uint64_t done = c - CU_STAGING_SLOTS, at = done * CU_STAGING_BYTES;
      const uint32_t k = (uint32_t)((first + done) % CU_STAGING_SLOTS);
      status = cu_check(d, "cudaEventSynchronize", cudaEventSynchronize(s->done[k]), err);
      if (status == CREDENCE_OK) memcpy(to + at, slot_at(s, k), smaller(bytes - at, CU_STAGING_BYTES));
    }
    if (c < chunks && status == CREDENCE_OK) {
      const uint64_t at = c * CU_STAGING_BYTES;
      const uint32_t k = (uint32_t)((first + c) % CU_STAGING_SLOTS);
      status = cu_check(d, "a copy from the device",
                        cudaMemcpyAsync(slot_at(s, k), from + at, smaller(bytes - at, CU_STAGING_BYTES),
                                        cudaMemcpyDeviceToHost, stream),
                        err);
      if (status == CREDENCE_OK) status = cu_check(d, "cudaEventRecord", cudaEventRecord(s->done[k], stream), err);
    }
  }
  s->next = (uint32_t)((first + chunks) % CU_STAGING_SLOTS);
  return status;
}

/* ---- buffers ---- */

static int32_t alloc_device(cu_device *d, uint64_t bytes, char **out, credence_error *err) {
  pthread_mutex_lock(&d->mutex);
  int32_t status = cu_memory_alloc(d, d->copies, bytes, "a buffer", out, err);
  if (status == CREDENCE_OK) {
    status = cu_check(d, "cudaMemsetAsync", cudaMemsetAsync(*out, 0, bytes, d->copies), err);
    if (status == CREDENCE_OK) /* other streams may use it at once */
      status = cu_check(d, "cudaStreamSynchronize", cudaStreamSynchronize(d->copies), err);
    if (status != CREDENCE_OK) cu_memory_free(d, d->copies, *out);
  }
  pthread_mutex_unlock(&d->mutex);
  return status;
}

static int32_t alloc_pinned(cu_device *d, uint64_t bytes, char **out, credence_error *err) {
  if (cr_fault(&d->base.faults.alloc))
    return cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a pinned buffer: %llu bytes (injected)",
                   (unsigned long long)bytes);
  void *p = NULL;
  int32_t status = cu_check(d, "cudaHostAlloc", cudaHostAlloc(&p, bytes == 0 ? 1 : bytes, cudaHostAllocPortable), err);
  if (status == CREDENCE_OK) memset(p, 0, bytes);
  *out = p;
  return status;
}

static cu_buffer *new_buffer(cu_device *d, uint64_t bytes, credence_error *err) {
  cu_buffer *b = cr_alloc(&d->base, sizeof *b, "a buffer's record", err);
  if (b == NULL) return NULL;
  b->base.device = &d->base;
  b->base.bytes = bytes;
  return b;
}

int32_t cu_buffer_alloc(credence_device *device, uint64_t bytes, uint32_t flags, credence_buffer **out,
                        credence_error *err) {
  int32_t status = cr_check_buffer_alloc(device, flags, out, err);
  if (status != CREDENCE_OK) return status;
  cu_device *d = cu_device_of(device);
  cu_buffer *b = new_buffer(d, bytes, err);
  if (b == NULL) return CREDENCE_OUT_OF_MEMORY;
  b->pinned = flags == CREDENCE_BUFFER_PINNED_HOST;
  void *before = cu_enter(d);
  status = b->pinned ? alloc_pinned(d, bytes, &b->base.data, err) : alloc_device(d, bytes, &b->base.data, err);
  cu_leave(d, before);
  if (status != CREDENCE_OK) {
    cr_free(b);
    return status;
  }
  cr_device_retain(device);
  *out = &b->base;
  return CREDENCE_OK;
}

/* The device reads weights at the speed of its own memory, so it takes a copy. */
int32_t cu_buffer_wrap(credence_device *device, const void *host, uint64_t bytes, credence_buffer **out,
                       credence_error *err) {
  int32_t status = cr_check_buffer_wrap(device, host, bytes, out, err);
  if (status != CREDENCE_OK) return status;
  credence_buffer *b;
  status = cu_buffer_alloc(device, bytes, CREDENCE_BUFFER_DEVICE, &b, err);
  if (status != CREDENCE_OK) return status;
  status = cu_buffer_write(NULL, b, 0, host, bytes, err);
  if (status != CREDENCE_OK) {
    cu_buffer_free(b);
    return status;
  }
  b->read_only = true;
  *out = b;
  return CREDENCE_OK;
}

void cu_buffer_free(credence_buffer *buffer) {
  if (buffer == NULL) return;
  cu_buffer *b = (cu_buffer *)(void *)buffer;
  credence_device *device = buffer->device;
  cu_device *d = cu_device_of(device);
  void *before = cu_enter(d);
  if (b->pinned) {
    cudaFreeHost(buffer->data);
  } else {
    pthread_mutex_lock(&d->mutex);
    cu_memory_free(d, d->copies, buffer->data);
    pthread_mutex_unlock(&d->mutex);
  }
  cu_leave(d, before);
  cr_free(b);
  cr_device_release(device);
}

void *cu_buffer_host(credence_buffer *buffer) {
  return buffer != NULL && ((cu_buffer *)(void *)buffer)->pinned ? buffer->data : NULL;
}

/* ---- copies ---- */

/* What a copy runs on: the stream's own means, or the device's, one user at a time. */
typedef struct lane {
  cu_device *device;
  cudaStream_t stream;
  cu_staging *staging;
  bool shared;
  void *before;
} lane;

static lane take_lane(credence_device *device, credence_stream *stream) {
  cu_device *d = cu_device_of(device);
  lane l = {.device = d, .before = cu_enter(d), .shared = stream == NULL};
  if (l.shared) {
    pthread_mutex_lock(&d->mutex);
    l.stream = d->copies;
    l.staging = &d->staging;
  } else {
    l.stream = cu_stream_of(stream)->stream;
    l.staging = &cu_stream_of(stream)->staging;
  }
  return l;
}

/* Without a stream the copy is complete on return. */
static int32_t leave_lane(const lane *l, int32_t status, credence_error *err) {
  if (l->shared) {
    if (status == CREDENCE_OK)
      status = cu_check(l->device, "cudaStreamSynchronize", cudaStreamSynchronize(l->stream), err);
    pthread_mutex_unlock(&l->device->mutex);
  }
  cu_leave(l->device, l->before);
  return status;
}

int32_t cu_buffer_write(credence_stream *stream, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                        credence_error *err) {
  int32_t status = cr_check_copy("buffer_write", stream, dst, offset, bytes, true, err);
  if (status != CREDENCE_OK || bytes == 0) return status;
  if (src == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_write: null source");
  const lane l = take_lane(dst->device, stream);
  status = write_staged(l.device, l.staging, l.stream, dst->data + offset, src, bytes, err);
  return leave_lane(&l, status, err);
}

int32_t cu_buffer_read(credence_stream *stream, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                       credence_error *err) {
  int32_t status = cr_check_copy("buffer_read", stream, src, offset, bytes, false, err);
  if (status != CREDENCE_OK || bytes == 0) return status;
  if (dst == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_read: null destination");
  const lane l = take_lane(src->device, stream);
  status = read_staged(l.device, l.staging, l.stream, dst, src->data + offset, bytes, err);
  return leave_lane(&l, status, err);
}

/* Ranges of one buffer that overlap go through memory of their own: the device copies in no order. */
static int32_t copy_overlapping(const lane *l, char *to, const char *from, uint64_t bytes, credence_error *err) {
  char *between = NULL;
  int32_t status = cu_memory_alloc(l->device, l->stream, bytes, "a copy within a buffer", &between, err);
  if (status != CREDENCE_OK) return status;
  cudaError_t error = cudaMemcpyAsync(between, from, bytes, cudaMemcpyDeviceToDevice, l->stream);
  if (error == cudaSuccess) error = cudaMemcpyAsync(to, between, bytes, cudaMemcpyDeviceToDevice, l->stream);
  cu_memory_free(l->device, l->stream, between);
  return cu_check(l->device, "a copy on the device", error, err);
}

int32_t cu_buffer_copy(credence_stream *stream, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                       uint64_t src_offset, uint64_t bytes, credence_error *err) {
  int32_t status = cr_check_copy("buffer_copy", stream, dst, dst_offset, bytes, true, err);
  if (status == CREDENCE_OK) status = cr_check_copy("buffer_copy", stream, src, src_offset, bytes, false, err);
  if (status == CREDENCE_OK && src->device != dst->device)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_copy: the buffers belong to different devices");
  if (status != CREDENCE_OK || bytes == 0) return status;
  const lane l = take_lane(dst->device, stream);
  char *to = dst->data + dst_offset;
  const char *from = src->data + src_offset;
  const uint64_t apart = to > from ? (uint64_t)(to - from) : (uint64_t)(from - to);
  if (apart >= bytes)
    status =
        cu_check(l.device, "a copy on the device", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, l.stream), err);
  else if (apart > 0)
    status = copy_overlapping(&l, to, from, bytes, err);
  return leave_lane(&l, status, err);
}
