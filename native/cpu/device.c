/* Devices: opening, options, and what a person wants to know about the processor. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "device.h"

#define MAX_THREADS 1024

/* OpenBLAS is one per process, and so is its self-test. */
static pthread_once_t blas_once = PTHREAD_ONCE_INIT;
static int32_t blas_panels;
static char blas_detail[256];

static void init_blas(void) {
  uint32_t state = cr_float_default();
  blas_panels = cr_blas_init(blas_detail);
  cr_float_restore(state);
}

int32_t cr_device_count(int32_t *count, credence_error *err) {
  if (count == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_count: null argument");
  *count = 1;
  return CREDENCE_OK;
}

static int32_t check_index(int32_t index, const char *call, credence_error *err) {
  if (index == 0) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_NO_DEVICE, "%s: there is no device %d; the cpu backend has one, device 0", call, index);
}

static void destroy(credence_device *device) {
  cr_pool_close(((cpu_device *)device)->pool);
  cr_free(device);
}

int32_t cr_device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err) {
  if (out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_open: null argument");
  *out = NULL;
  int32_t status = check_index(index, "device_open", err);
  if (status != CREDENCE_OK) return status;
  if (threads < 1 || threads > MAX_THREADS)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_open: %d threads; 1 to %d are possible", threads,
                   MAX_THREADS);
  pthread_once(&blas_once, init_blas);
  cpu_device *device = cr_alloc(NULL, sizeof *device, "a device", err);
  if (device == NULL) return CREDENCE_OUT_OF_MEMORY;
  cr_device_init(&device->base, "cpu", threads, destroy);
  device->blas_panels = blas_panels;
  device->isa = cr_isa_select("auto", device->base.rows);
  status = cr_pool_open(threads, &device->pool, err);
  if (status != CREDENCE_OK) {
    cr_free(device);
    return status;
  }
  *out = &device->base;
  return CREDENCE_OK;
}

void cr_device_close(credence_device *device) {
  if (device != NULL) cr_device_release(device);
}

static void copy_text(char *to, size_t size, const char *from) {
  size_t n = strlen(from);
  if (n >= size) n = size - 1;
  memcpy(to, from, n);
  to[n] = '\0';
}

/* The processor's name as the kernel tells it; on arm64 kernels tell numbers only. */
static void processor_name(char *name, size_t size) {
  char line[256];
#if defined(__aarch64__)
  copy_text(name, size, "arm64 processor");
#else
  copy_text(name, size, "processor");
#endif
  FILE *f = fopen("/proc/cpuinfo", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
    line[strcspn(line, "\n")] = '\0';
    copy_text(name, size, colon + 1 + strspn(colon + 1, " \t"));
    break;
  }
  if (f != NULL) fclose(f);
}

static int32_t processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return 1;
}

int32_t cr_device_info(int32_t index, const credence_device *device, credence_device_info *out, credence_error *err) {
  if (out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_info: null argument");
  uint32_t size = out->struct_size;
  if (size < sizeof *out)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "device_info: struct_size is %u, %zu is needed", size, sizeof *out);
  int32_t status = check_index(index, "device_info", err);
  if (status != CREDENCE_OK) return status;
  memset(out, 0, sizeof *out);
  out->struct_size = size;
  processor_name(out->name, sizeof out->name);
  const char *isa = device != NULL ? ((const cpu_device *)device)->isa : cr_isa_best();
#if defined(__aarch64__)
  if (strcmp(isa, "generic") == 0) isa = "neon"; /* every arm64 processor has it, so the generic set uses it */
#endif
  copy_text(out->arch, sizeof out->arch, isa);
  if (device != NULL) copy_text(out->detail, sizeof out->detail, blas_detail);
  cr_memory_info(&out->memory_total, &out->memory_free);
  out->compute_units = device != NULL ? device->threads : processors();
  out->integrated_memory = 1;
  return CREDENCE_OK;
}

static int32_t set_isa(credence_device *device, const char *value, credence_error *err) {
  char names[64];
  if (atomic_load(&device->planned))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "cpu_isa must be set before the first plan is opened");
  const cr_op_row *rows[CREDENCE_OP_LIMIT];
  const char *isa = cr_isa_select(value, rows);
  if (isa == NULL)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "cpu_isa=%.32s: not here; possible: %s", value, cr_isa_names(names));
  memcpy(device->rows, rows, sizeof rows);
  ((cpu_device *)device)->isa = isa;
  return CREDENCE_OK;
}

int32_t cr_set_option(credence_device *device, const char *key, const char *value, credence_error *err) {
  if (device == NULL || key == NULL || value == NULL)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "set_option: null argument");
  if (strcmp(key, "cpu_isa") == 0) return set_isa(device, value, err);
  if (strcmp(key, "math") == 0) { /* tf32 is a permission, of which a CPU makes no use */
    if (strcmp(value, "strict") == 0 || strcmp(value, "tf32") == 0) return CREDENCE_OK;
    return cr_fail(err, CREDENCE_UNSUPPORTED, "math=%.32s: possible: strict, tf32", value);
  }
  if (strncmp(key, "fault.", 6) == 0) return cr_set_fault(device, key, value, err);
  return cr_fail(err, CREDENCE_UNSUPPORTED, "option %.32s is unknown; the cpu backend has cpu_isa, math and fault.*",
                 key);
}
