/* Stands in for libcuda.so.1. FAKE_CUDA chooses what it does: init (cuInit fails), none (no device), one (a device). */
#include <stdlib.h>
#include <string.h>

static int mode(const char *name) {
  const char *mode = getenv("FAKE_CUDA");
  return mode != NULL && strcmp(mode, name) == 0;
}

int cuInit(unsigned flags) { return mode("init") || flags != 0 ? 999 : 0; }

int cuDriverGetVersion(int *version) {
  *version = 12040;
  return 0;
}

int cuDeviceGetCount(int *count) {
  *count = mode("one") ? 1 : 0;
  return mode("broken") ? 3 : 0;
}

int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? 0 : 101;
}

int cuDeviceGetName(char *name, int size, int device) {
  (void)device;
  strncpy(name, "Fake GPU", (size_t)size);
  return 0;
}

int cuDeviceGetUuid(void *uuid, int device) {
  (void)device;
  memset(uuid, 0xab, 16);
  return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  (void)device;
  *bytes = (size_t)1 << 30;
  return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;
  return 0;
}

int cuCtxGetCurrent(void **context) {
  *context = NULL;
  return 0;
}

int cuCtxSetCurrent(void *context) {
  (void)context;
  return 0;
}

int cuGetErrorName(int error, const char **text) {
  *text = error == 999 ? "CUDA_ERROR_UNKNOWN" : NULL;
  return error == 999 ? 0 : 1;
}

int cuGetErrorString(int error, const char **text) {
  *text = error == 999 ? "unknown error" : NULL;
  return error == 999 ? 0 : 1;
}
