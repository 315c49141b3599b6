/* nvml.c: stands in for libnvidia-ml.so.1 in tests. It is an old driver: functions for error correction, MIG and
 * utilisation are missing altogether. With -DINIT=n initialisation fails with n and anything called after that ends the
 * process, as the real library may. */
#include <stdlib.h>
#include <string.h>

#ifndef INIT
#define INIT 0
#endif

static void alive(void) {
  if (INIT != 0) abort();
}

int nvmlInit_v2(void) { return INIT; }

int nvmlShutdown(void) { return alive(), 0; }

const char *nvmlErrorString(int code) { return alive(), code == 3 ? "Not Supported" : "some error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) { return alive(), strncpy(text, "390.157", length), 0; }

int nvmlDeviceGetCount_v2(unsigned int *count) { return alive(), *count = 2, 0; }

static int device;

int nvmlDeviceGetHandleByIndex(unsigned int index, void **out) { return alive(), *out = &device, index; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **out) {
  alive();
  *out = &device;
  return index == 0 ? 0 : 15; /* NVML_ERROR_GPU_IS_LOST */
}

int nvmlDeviceGetName(void *d, char *text, unsigned int n) { return alive(), (void)d, strncpy(text, "Old GPU", n), 0; }

int nvmlDeviceGetUUID(void *d, char *text, unsigned int n) { return alive(), (void)d, strncpy(text, "GPU-old", n), 0; }

int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) {
  return alive(), (void)d, *major = 3, *minor = 5, 0;
}

int nvmlDeviceGetMemoryInfo(void *d, unsigned long long memory[3]) { /* total, free, used */
  return alive(), (void)d, memory[0] = 1000, memory[1] = 400, memory[2] = 600, 0;
}

int nvmlDeviceGetTemperature(void *d, int sensor, unsigned int *celsius) {
  return alive(), (void)d, (void)sensor, *celsius = 0, 3; /* NVML_ERROR_NOT_SUPPORTED */
}
