/* driver.h: what the NVIDIA driver says about this machine. The driver is loaded at run time, so that this library
 * loads, and can give its reasons, where there is none. */
#ifndef CREDENCE_CUDA_DRIVER_H
#define CREDENCE_CUDA_DRIVER_H

#include <stdint.h>

#include "credence_native.h"

#ifdef __cplusplus
extern "C" {
#endif

int32_t cu_fail(credence_error *err, int32_t code, int32_t native_code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Number of devices, at least 1; or NO_DEVICE with the true reason: no driver, a driver that does not start, none. */
int32_t cu_driver_count(int32_t *count, credence_error *err);

/* Name, identifier, architecture, memory and multiprocessors of a device that exists. */
int32_t cu_driver_info(int32_t index, credence_device_info *out, credence_error *err);

/* The calling thread's context, or NULL; only once the driver is loaded. The runtime API works in whatever context is
 * current, and asking it instead for the current device would hide that there is none: putting "device 0" back would
 * then open a context on a GPU that nobody uses. */
void *cu_driver_context(void);
void cu_driver_set_context(void *context);

#ifdef __cplusplus
}
#endif
#endif
