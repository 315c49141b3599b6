/* Devices, errors and what the tests may ask. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "runtime.h"

namespace emu {
namespace {

constexpr int kMaxDevices = 8;
constexpr size_t kMemory = size_t{8} << 30;

struct ThreadState {
  int device = 0;
  cudaError_t last = cudaSuccess;
};
thread_local ThreadState thread_state;

std::mutex failure_mutex;
char failure[480]; /* read through cudaGetErrorString without a copy: never moves */

}  // namespace

std::string environment(const char *name) {
  const char *value = getenv(name);
  return value == nullptr ? "" : value;
}

int device_count() {
  static const int count = [] {
    const std::string text = environment("CREDENCE_EMULATOR_DEVICES");
    const int n = text.empty() ? 1 : atoi(text.c_str());
    return n < 0 ? 0 : n > kMaxDevices ? kMaxDevices : n;
  }();
  return count;
}

size_t memory_bytes() {
  static const size_t bytes = [] {
    const std::string text = environment("CREDENCE_EMULATOR_MEMORY");
    return text.empty() ? kMemory : static_cast<size_t>(strtoull(text.c_str(), nullptr, 10));
  }();
  return bytes;
}

Device &device(int index) {
  static struct All {
    Device at[kMaxDevices];
    All() {
      for (int k = 0; k < kMaxDevices; k++) at[k].index = k;
    }
  } devices;
  return devices.at[index];
}

Device &current() { return device(thread_state.device); }

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) thread_state.last = error;
  return error;
}

void set_failure(const std::string &text) {
  const std::lock_guard<std::mutex> hold(failure_mutex);
  snprintf(failure, sizeof failure, "%s", text.c_str());
}

}  // namespace emu

using emu::call;
using emu::remember;

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define EMU_NAME(name, number, text) \
  case cuda##name:                   \
    return "cuda" #name;
    EMU_ERRORS(EMU_NAME)
  }
  return "unrecognized error code";
}

/* Where a kernel failed it says what it did, so that whoever logs the error logs that. */
const char *cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure && emu::failure[0] != '\0') return emu::failure;
  switch (error) {
#define EMU_TEXT(name, number, text) \
  case cuda##name:                   \
    return text;
    EMU_ERRORS(EMU_TEXT)
  }
  return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError(void) {
  const cudaError_t broken = static_cast<cudaError_t>(emu::current().sticky.load());
  return broken != cudaSuccess ? broken : emu::thread_state.last;
}

cudaError_t cudaGetLastError(void) {
  const cudaError_t last = cudaPeekAtLastError();
  emu::thread_state.last = cudaSuccess;
  return last;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  if (version == nullptr) return remember(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaGetDeviceCount(int *count) {
  if (count == nullptr) return remember(cudaErrorInvalidValue);
  *count = emu::device_count();
  return *count > 0 ? cudaSuccess : remember(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= emu::device_count()) return remember(cudaErrorInvalidDevice);
  emu::thread_state.device = index;
  return call([](emu::Device &) { return cudaSuccess; });
}

cudaError_t cudaGetDevice(int *index) {
  if (index == nullptr) return remember(cudaErrorInvalidValue);
  *index = emu::thread_state.device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int index) {
  if (value == nullptr) return remember(cudaErrorInvalidValue);
  if (index < 0 || index >= emu::device_count()) return remember(cudaErrorInvalidDevice);
  switch (attribute) { /* an H100's */
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      *value = 1024;
      break;
    case cudaDevAttrMaxBlockDimZ:
      *value = 64;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = 2147483647;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *value = 65535;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 48 * 1024;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 132;
      break;
    case cudaDevAttrIntegrated:
      *value = 0;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrUnifiedAddressing:
      *value = 1;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = EMU_SHARED_MULTIPROCESSOR;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = EMU_SHARED_OPTIN;
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = 32;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    default:
      return remember(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int index) {
  if (p == nullptr) return remember(cudaErrorInvalidValue);
  if (index < 0 || index >= emu::device_count()) return remember(cudaErrorInvalidDevice);
  *p = {};
  snprintf(p->name, sizeof p->name, "Emulated GPU");
  memcpy(p->uuid.bytes, "emulated GPU", 12);
  p->uuid.bytes[15] = static_cast<char>(index);
  p->totalGlobalMem = emu::memory_bytes();
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerBlockOptin = EMU_SHARED_OPTIN;
  p->sharedMemPerMultiprocessor = EMU_SHARED_MULTIPROCESSOR;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->major = 9;
  p->multiProcessorCount = 132;
  p->l2CacheSize = 50 << 20;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  return cudaSuccess;
}

emu_counts emu_live(void) {
  return {emu::live_allocations(), emu::live_host_allocations(), emu::live_pools(), emu::streams.count(),
          emu::events.count(),     emu::graphs.count(),          emu::execs.count()};
}

const char *emu_failure(void) { return emu::failure; }

void emu_break(int index, cudaError_t error) { emu::device(index).pending = error; }

void emu_mend(void) {
  for (int k = 0; k < emu::kMaxDevices; k++) emu::device(k).sticky = emu::device(k).pending = cudaSuccess;
  emu::set_failure("");
  cudaGetLastError();
}
