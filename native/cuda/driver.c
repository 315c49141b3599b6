/* The few functions of the CUDA driver that are needed to tell what is there. Their names and numbers are the driver
 * API's own and stable; its header is not needed. */
#include "driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { ATTRIBUTE_MULTIPROCESSORS = 16, ATTRIBUTE_INTEGRATED = 18, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };

typedef struct cu_uuid {
  unsigned char bytes[16];
} cu_uuid;

static struct {
  int (*init)(unsigned flags);
  int (*version)(int *version);
  int (*count)(int *count);
  int (*device)(int *device, int ordinal);
  int (*name)(char *name, int size, int device);
  int (*uuid)(cu_uuid *uuid, int device);
  int (*memory)(size_t *bytes, int device);
  int (*attribute)(int *value, int attribute, int device);
  int (*context)(void **context);
  int (*set_context)(void *context);
  int (*error_name)(int error, const char **text);
  int (*error_text)(int error, const char **text);
} driver;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[200]; /* why the driver could not be loaded; empty: it was */
static int start_error;   /* of cuInit */

static void load(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char *why = dlerror();
    snprintf(missing, sizeof missing, "%s", why != NULL ? why : "libcuda.so.1 does not load");
    return;
  }
  const struct {
    const char *name;
    void *to;
  } symbols[] = {{"cuInit", &driver.init},
                 {"cuDriverGetVersion", &driver.version},
                 {"cuDeviceGetCount", &driver.count},
                 {"cuDeviceGet", &driver.device},
                 {"cuDeviceGetName", &driver.name},
                 {"cuDeviceGetUuid", &driver.uuid},
                 {"cuDeviceTotalMem_v2", &driver.memory},
                 {"cuDeviceGetAttribute", &driver.attribute},
                 {"cuCtxGetCurrent", &driver.context},
                 {"cuCtxSetCurrent", &driver.set_context},
                 {"cuGetErrorName", &driver.error_name},
                 {"cuGetErrorString", &driver.error_text}};
  for (size_t k = 0; k < sizeof symbols / sizeof *symbols; k++) {
    void *symbol = dlsym(library, symbols[k].name);
    memcpy(symbols[k].to, &symbol, sizeof symbol);
    if (symbol != NULL) continue;
    snprintf(missing, sizeof missing, "libcuda.so.1 has no %s", symbols[k].name);
    return;
  }
  start_error = driver.init(0);
}

static int32_t driver_failed(const char *call, int error, credence_error *err) {
  const char *name = NULL, *text = NULL;
  driver.error_name(error, &name);
  driver.error_text(error, &text);
  return cu_fail(err, CREDENCE_NO_DEVICE, error, "the NVIDIA driver's %s fails: %s (%d): %s", call,
                 name != NULL ? name : "unknown error", error, text != NULL ? text : "no text");
}

int32_t cu_driver_count(int32_t *count, credence_error *err) {
  *count = 0;
  pthread_once(&once, load);
  if (missing[0] != '\0') return cu_fail(err, CREDENCE_NO_DEVICE, 0, "no NVIDIA driver: %s", missing);
  if (start_error != 0) return driver_failed("cuInit", start_error, err);
  int n = 0, error = driver.count(&n);
  if (error != 0) return driver_failed("cuDeviceGetCount", error, err);
  if (n <= 0) return cu_fail(err, CREDENCE_NO_DEVICE, 0, "the NVIDIA driver works, but there is no CUDA device");
  *count = n;
  return CREDENCE_OK;
}

int32_t cu_driver_info(int32_t index, credence_device_info *out, credence_error *err) {
  int device, version = 0, major = 0, minor = 0, multiprocessors = 0, integrated = 0;
  size_t bytes = 0;
  cu_uuid uuid;
  int error = driver.device(&device, index);
  if (error == 0) error = driver.name(out->name, (int)sizeof out->name, device);
  if (error == 0) error = driver.uuid(&uuid, device);
  if (error == 0) error = driver.memory(&bytes, device);
  if (error == 0) error = driver.attribute(&major, ATTRIBUTE_MAJOR, device);
  if (error == 0) error = driver.attribute(&minor, ATTRIBUTE_MINOR, device);
  if (error == 0) error = driver.attribute(&multiprocessors, ATTRIBUTE_MULTIPROCESSORS, device);
  if (error == 0) error = driver.attribute(&integrated, ATTRIBUTE_INTEGRATED, device);
  if (error == 0) error = driver.version(&version);
  if (error != 0) return driver_failed("cuDeviceGet", error, err);
  const unsigned char *u = uuid.bytes;
  snprintf(out->uuid, sizeof out->uuid, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
           u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
  snprintf(out->arch, sizeof out->arch, "sm_%d%d", major, minor);
  snprintf(out->detail, sizeof out->detail, "CUDA driver API %d.%d", version / 1000, version % 1000 / 10);
  out->index = index;
  out->memory_total = bytes;
  out->compute_units = multiprocessors;
  out->integrated_memory = integrated;
  return CREDENCE_OK;
}

void *cu_driver_context(void) {
  void *context = NULL;
  return driver.context(&context) == 0 ? context : NULL;
}

void cu_driver_set_context(void *context) { driver.set_context(context); }
