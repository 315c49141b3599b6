/* Devices: opening, options, and what goes wrong with them for good. */
#include "device.h"

#include <stdio.h>
#include <string.h>

#include "driver.h"

void *cu_enter(const cu_device *d) {
  void *before = cu_driver_context();
  if (before != d->context) cu_driver_set_context(d->context);
  return before;
}

void cu_leave(const cu_device *d, void *before) {
  if (before != d->context) cu_driver_set_context(before);
}

int32_t cu_check(cu_device *d, const char *call, cudaError_t error, credence_error *err) {
  if (error == cudaSuccess) return CREDENCE_OK;
  credence_error e;
  const int32_t status = cu_failed(call, error, &e);
  if (status == CREDENCE_DEVICE_LOST) {
    pthread_mutex_lock(&d->lost_mutex);
    if (atomic_load(&d->base.lost) == 0) {
      d->lost = e;
      atomic_store_explicit(&d->base.lost, 1, memory_order_release);
    }
    pthread_mutex_unlock(&d->lost_mutex);
  }
  if (err != NULL) *err = e;
  return status;
}

static int32_t alive(credence_device *device, credence_error *err) {
  if (atomic_load_explicit(&device->lost, memory_order_acquire) == 0) return CREDENCE_OK;
  const cu_device *d = cu_device_of(device);
  if (d->lost.code == CREDENCE_OK)
    return cr_fail(err, CREDENCE_DEVICE_LOST, "the device was lost (injected); close it");
  return cu_fail(err, CREDENCE_DEVICE_LOST, d->lost.native_code, "the device was lost; close it. %.200s", d->lost.msg);
}

int32_t cu_device_count(int32_t *count, credence_error *err) {
  if (count == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_count: null argument");
  return cu_driver_count(count, err);
}

static int32_t check_index(const char *call, int32_t index, credence_error *err) {
  int32_t count, status = cu_driver_count(&count, err);
  if (status != CREDENCE_OK || (index >= 0 && index < count)) return status;
  return cr_fail(err, CREDENCE_NO_DEVICE, "%s: there is no device %d; there are %d, from 0", call, index, count);
}

/* With the device current. */
static int32_t start(cu_device *d, credence_error *err) {
  int l2 = 0, pools = 0;
  int32_t status = cu_check(d, "cudaDeviceGetAttribute",
                            cudaDeviceGetAttribute(&d->multiprocessors, cudaDevAttrMultiProcessorCount, d->index), err);
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaDeviceGetAttribute", cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, d->index), err);
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaDeviceGetAttribute",
                      cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, d->index), err);
  if (status == CREDENCE_OK) status = cu_probe(err);
  if (status == CREDENCE_OK)
    status =
        cu_check(d, "cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&d->copies, cudaStreamNonBlocking), err);
  if (status != CREDENCE_OK || pools == 0) return status;
  d->l2_bytes = l2;
  struct cudaMemPoolProps properties;
  memset(&properties, 0, sizeof properties);
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = d->index;
  status = cu_check(d, "cudaMemPoolCreate", cudaMemPoolCreate(&d->pool, &properties), err);
  /* What is freed stays with the pool, or every session that comes and goes would pay for new memory; cu_memory_alloc
   * gives it back before it refuses. */
  uint64_t keep = UINT64_MAX;
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaMemPoolSetAttribute",
                      cudaMemPoolSetAttribute(d->pool, cudaMemPoolAttrReleaseThreshold, &keep), err);
  return status;
}

static void destroy(credence_device *device) {
  cu_device *d = cu_device_of(device);
  void *before = cu_enter(d);
  cu_staging_close(&d->staging);
  if (d->copies != NULL) cudaStreamDestroy(d->copies);
  if (d->pool != NULL) cudaMemPoolDestroy(d->pool);
  cu_leave(d, before);
  pthread_mutex_destroy(&d->mutex);
  pthread_mutex_destroy(&d->lost_mutex);
  cr_free(d);
}

int32_t cu_device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err) {
  if (out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_open: null argument");
  *out = NULL;
  int32_t status = check_index("device_open", index, err);
  if (status != CREDENCE_OK) return status;
  if (threads < 1) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_open: %d threads; at least 1", threads);
  credence_device_info info = {.struct_size = sizeof info};
  status = cu_driver_info(index, &info, err);
  if (status == CREDENCE_OK) status = cu_blas_load(err);
  if (status != CREDENCE_OK) return status;
  cu_device *d = cr_alloc(NULL, sizeof *d, "a device", err);
  if (d == NULL) return CREDENCE_OUT_OF_MEMORY;
  cr_device_init(&d->base, "cuda", 1, destroy); /* one thread: scratch is the device's */
  d->base.alive = alive;
  d->index = index;
  d->graphs = true;
  memcpy(d->name, info.name, sizeof d->name);
  pthread_mutex_init(&d->mutex, NULL);
  pthread_mutex_init(&d->lost_mutex, NULL);
  cu_families(d->base.rows);
  void *before = cu_driver_context();
  status = cu_check(d, "cudaSetDevice", cudaSetDevice(index), err);
  if (status == CREDENCE_OK) status = start(d, err);
  d->context = cu_driver_context();
  cu_leave(d, before);
  if (status != CREDENCE_OK) {
    cr_device_release(&d->base);
    return status;
  }
  *out = &d->base;
  return CREDENCE_OK;
}

void cu_device_close(credence_device *device) {
  if (device != NULL) cr_device_release(device);
}

static void describe(const cu_device *d, credence_device_info *out) {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  snprintf(out->detail, sizeof out->detail, "CUDA driver API %d.%d, runtime %d.%d, %s, %s, %s", driver / 1000,
           driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, cu_blas_version(),
           d->tf32 ? "TF32 products" : "strict float32", d->graphs ? "graphs" : "no graphs");
  void *before = cu_enter(d);
  size_t available = 0, total = 0;
  if (cudaMemGetInfo(&available, &total) == cudaSuccess) {
    uint64_t reserved = 0, used = 0; /* what the pool keeps for us is free too */
    if (d->pool != NULL) {
      cudaMemPoolGetAttribute(d->pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
      cudaMemPoolGetAttribute(d->pool, cudaMemPoolAttrUsedMemCurrent, &used);
    }
    out->memory_total = total;
    out->memory_free = available + (reserved > used ? reserved - used : 0);
  }
  cu_leave(d, before);
}

int32_t cu_device_info(int32_t index, const credence_device *device, credence_device_info *out, credence_error *err) {
  if (out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_info: null argument");
  const uint32_t size = out->struct_size;
  if (size < sizeof *out)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_info: struct_size is %u, %zu is needed", size, sizeof *out);
  int32_t status = check_index("device_info", index, err);
  if (status != CREDENCE_OK) return status;
  memset(out, 0, sizeof *out);
  out->struct_size = size;
  status = cu_driver_info(index, out, err);
  if (status == CREDENCE_OK && device != NULL) describe((const cu_device *)(const void *)device, out);
  return status;
}

int32_t cu_set_option(credence_device *device, const char *key, const char *value, credence_error *err) {
  if (device == NULL || key == NULL || value == NULL)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "set_option: null argument");
  cu_device *d = cu_device_of(device);
  const struct {
    const char *key, *on, *off;
    bool *flag;
  } options[] = {{"math", "tf32", "strict", &d->tf32}, {"graphs", "on", "off", &d->graphs}};
  for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
    if (strcmp(key, options[k].key) != 0) continue;
    const bool on = strcmp(value, options[k].on) == 0;
    if (!on && strcmp(value, options[k].off) != 0)
      return cr_fail(err, CREDENCE_UNSUPPORTED, "%s=%.32s: possible: %s, %s", key, value, options[k].off,
                     options[k].on);
    *options[k].flag = on;
    return CREDENCE_OK;
  }
  if (strncmp(key, "fault.", 6) == 0) return cr_set_fault(device, key, value, err);
  return cr_fail(err, CREDENCE_UNSUPPORTED, "option %.32s is unknown; the cuda backend has math, graphs and fault.*",
                 key);
}
