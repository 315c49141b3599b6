/* Errors of CUDA in the caller's credence_error. */
#include <stdarg.h>
#include <stdio.h>

#include "driver.h"
#ifdef CREDENCE_CUDA_KERNELS
#include "cu.h"
#endif

int32_t cu_fail(credence_error *err, int32_t code, int32_t native_code, const char *format, ...) {
  if (err == NULL) return code;
  err->code = code;
  err->native_code = native_code;
  va_list args;
  va_start(args, format);
  if (vsnprintf(err->msg, sizeof err->msg, format, args) < 0) err->msg[0] = '\0';
  va_end(args);
  return code;
}

#ifdef CREDENCE_CUDA_KERNELS
/* After these a context gives nothing but errors (CUDA Runtime API, "Error codes"). */
static bool is_lost(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

int32_t cu_failed(const char *call, cudaError_t error, credence_error *err) {
  int32_t code = CREDENCE_INTERNAL;
  if (error == cudaErrorMemoryAllocation) code = CREDENCE_OUT_OF_MEMORY;
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInsufficientDriver ||
      error == cudaErrorUnsupportedPtxVersion || error == cudaErrorNotSupported)
    code = CREDENCE_UNSUPPORTED;
  if (is_lost(error)) code = CREDENCE_DEVICE_LOST;
  cudaGetLastError(); /* one that does not last is not met again by the next call */
  return cu_fail(err, code, (int32_t)error, "%s fails: %s (%d): %s", call, cudaGetErrorName(error), (int)error,
                 cudaGetErrorString(error));
}
#endif
