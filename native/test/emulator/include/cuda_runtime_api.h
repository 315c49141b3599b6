/* cuda_runtime_api.h of the emulator: the part of the CUDA runtime API that native/cuda uses, with the toolkit's names
 * and numbers. C and C++. See README.md beside this directory. */
#ifndef CREDENCE_EMULATOR_CUDA_RUNTIME_API_H
#define CREDENCE_EMULATOR_CUDA_RUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CUDART_VERSION 13000
#define EMU_API __attribute__((visibility("default")))

/* name, number, text */
#define EMU_ERRORS(X)                                                                                               \
  X(Success, 0, "no error")                                                                                         \
  X(ErrorInvalidValue, 1, "invalid argument")                                                                       \
  X(ErrorMemoryAllocation, 2, "out of memory")                                                                      \
  X(ErrorInitializationError, 3, "initialization error")                                                            \
  X(ErrorCudartUnloading, 4, "driver shutting down")                                                                \
  X(ErrorInvalidConfiguration, 9, "invalid configuration argument")                                                 \
  X(ErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy")                                           \
  X(ErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")                    \
  X(ErrorDevicesUnavailable, 46, "CUDA-capable device(s) is/are busy or unavailable")                               \
  X(ErrorInvalidDeviceFunction, 98, "invalid device function")                                                      \
  X(ErrorNoDevice, 100, "no CUDA-capable device is detected")                                                       \
  X(ErrorInvalidDevice, 101, "invalid device ordinal")                                                              \
  X(ErrorInvalidKernelImage, 200, "device kernel image is invalid")                                                 \
  X(ErrorNoKernelImageForDevice, 209, "no kernel image is available for execution on the device")                   \
  X(ErrorECCUncorrectable, 214, "uncorrectable ECC error encountered")                                              \
  X(ErrorNvlinkUncorrectable, 220, "uncorrectable NVLink error detected during the execution")                      \
  X(ErrorUnsupportedPtxVersion, 222, "the provided PTX was compiled with an unsupported toolchain.")                \
  X(ErrorOperatingSystem, 304, "OS call failed or operation not supported on this OS")                              \
  X(ErrorInvalidResourceHandle, 400, "invalid resource handle")                                                     \
  X(ErrorIllegalState, 401, "the operation cannot be performed in the present state")                               \
  X(ErrorNotReady, 600, "device not ready")                                                                         \
  X(ErrorIllegalAddress, 700, "an illegal memory access was encountered")                                           \
  X(ErrorLaunchOutOfResources, 701, "too many resources requested for launch")                                      \
  X(ErrorLaunchTimeout, 702, "the launch timed out and was terminated")                                             \
  X(ErrorContextIsDestroyed, 709, "context is destroyed")                                                           \
  X(ErrorAssert, 710, "device-side assert triggered")                                                               \
  X(ErrorHostMemoryAlreadyRegistered, 712, "part or all of the requested memory range is already mapped")           \
  X(ErrorHostMemoryNotRegistered, 713, "pointer does not correspond to a registered memory region")                 \
  X(ErrorHardwareStackError, 714, "hardware stack error")                                                           \
  X(ErrorIllegalInstruction, 715, "an illegal instruction was encountered")                                         \
  X(ErrorMisalignedAddress, 716, "misaligned address")                                                              \
  X(ErrorInvalidAddressSpace, 717, "operation not supported on global/shared address space")                        \
  X(ErrorInvalidPc, 718, "invalid program counter")                                                                 \
  X(ErrorLaunchFailure, 719, "unspecified launch failure")                                                          \
  X(ErrorNotPermitted, 800, "operation not permitted")                                                              \
  X(ErrorNotSupported, 801, "operation not supported")                                                              \
  X(ErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")                         \
  X(ErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")                  \
  X(ErrorStreamCaptureMerge, 902, "operation would result in a merge of separate capture sequences")                \
  X(ErrorStreamCaptureUnmatched, 903, "capture was not ended in the same stream as it began")                       \
  X(ErrorStreamCaptureUnjoined, 904, "capturing stream has unjoined work")                                          \
  X(ErrorStreamCaptureIsolation, 905, "dependency created on uncaptured work in another stream")                    \
  X(ErrorStreamCaptureImplicit, 906, "operation would make the legacy stream depend on a capturing stream")         \
  X(ErrorCapturedEvent, 907, "operation not permitted on an event last recorded in a capturing stream")             \
  X(ErrorStreamCaptureWrongThread, 908, "attempt to terminate a thread-local capture sequence from another thread") \
  X(ErrorUnknown, 999, "unknown error")

typedef enum cudaError {
#define EMU_ENUMERATOR(name, number, text) cuda##name = number,
  EMU_ERRORS(EMU_ENUMERATOR)
#undef EMU_ENUMERATOR
} cudaError_t;

typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
typedef struct emu_graph *cudaGraph_t;
typedef struct emu_graph_exec *cudaGraphExec_t;
typedef struct emu_graph_node *cudaGraphNode_t;
typedef struct emu_pool *cudaMemPool_t;
typedef void (*cudaHostFn_t)(void *data);

#define cudaStreamLegacy ((cudaStream_t)0x1)
#define cudaStreamDefault 0x00
#define cudaStreamNonBlocking 0x01
#define cudaEventDefault 0x00
#define cudaEventBlockingSync 0x01
#define cudaEventDisableTiming 0x02
#define cudaHostAllocDefault 0x00
#define cudaHostAllocPortable 0x01
#define cudaHostAllocMapped 0x02
#define cudaHostAllocWriteCombined 0x04

enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};

enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxBlockDimX = 2,
  cudaDevAttrMaxBlockDimY = 3,
  cudaDevAttrMaxBlockDimZ = 4,
  cudaDevAttrMaxGridDimX = 5,
  cudaDevAttrMaxGridDimY = 6,
  cudaDevAttrMaxGridDimZ = 7,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrIntegrated = 18,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrUnifiedAddressing = 41,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMaxBlocksPerMultiprocessor = 106,
  cudaDevAttrMemoryPoolsSupported = 115
};

/* Some members of the toolkit's struct. */
typedef struct cudaUUID_t {
  char bytes[16];
} cudaUUID_t;
struct cudaDeviceProp {
  char name[256];
  cudaUUID_t uuid;
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
  int warpSize, maxThreadsPerBlock, maxThreadsPerMultiProcessor, major, minor, multiProcessorCount, integrated;
  int l2CacheSize, maxThreadsDim[3], maxGridSize[3];
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};

enum cudaMemPoolAttr {
  cudaMemPoolReuseFollowEventDependencies = 1,
  cudaMemPoolReuseAllowOpportunistic = 2,
  cudaMemPoolReuseAllowInternalDependencies = 3,
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrReservedMemHigh = 6,
  cudaMemPoolAttrUsedMemCurrent = 7,
  cudaMemPoolAttrUsedMemHigh = 8
};
enum cudaMemAllocationType { cudaMemAllocationTypeInvalid = 0, cudaMemAllocationTypePinned = 1 };
enum cudaMemAllocationHandleType { cudaMemHandleTypeNone = 0 };
enum cudaMemLocationType { cudaMemLocationTypeInvalid = 0, cudaMemLocationTypeDevice = 1, cudaMemLocationTypeHost = 2 };
struct cudaMemLocation {
  enum cudaMemLocationType type;
  int id;
};
struct cudaMemPoolProps {
  enum cudaMemAllocationType allocType;
  enum cudaMemAllocationHandleType handleTypes;
  struct cudaMemLocation location;
  void *win32SecurityAttributes;
  size_t maxSize;
  unsigned char reserved[56];
};

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone = 0,
  cudaStreamCaptureStatusActive = 1,
  cudaStreamCaptureStatusInvalidated = 2
};

/* ---- errors and devices ---- */
EMU_API const char *cudaGetErrorName(cudaError_t error);
EMU_API const char *cudaGetErrorString(cudaError_t error);
EMU_API cudaError_t cudaGetLastError(void);
EMU_API cudaError_t cudaPeekAtLastError(void);
EMU_API cudaError_t cudaRuntimeGetVersion(int *version);
EMU_API cudaError_t cudaDriverGetVersion(int *version);
EMU_API cudaError_t cudaGetDeviceCount(int *count);
EMU_API cudaError_t cudaSetDevice(int device);
EMU_API cudaError_t cudaGetDevice(int *device);
EMU_API cudaError_t cudaDeviceSynchronize(void);
EMU_API cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device);
EMU_API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);

/* ---- memory ---- */
EMU_API cudaError_t cudaMalloc(void **memory, size_t bytes);
EMU_API cudaError_t cudaFree(void *memory);
EMU_API cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t stream);
EMU_API cudaError_t cudaMallocFromPoolAsync(void **memory, size_t bytes, cudaMemPool_t pool, cudaStream_t stream);
EMU_API cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream);
EMU_API cudaError_t cudaMallocHost(void **memory, size_t bytes);
EMU_API cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned int flags);
EMU_API cudaError_t cudaFreeHost(void *memory);
EMU_API cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
EMU_API cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind);
EMU_API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                                    cudaStream_t stream);
EMU_API cudaError_t cudaMemset(void *memory, int value, size_t bytes);
EMU_API cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);
EMU_API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device);
EMU_API cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *properties);
EMU_API cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool);
EMU_API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value);
EMU_API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value);
EMU_API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep);

/* ---- streams and events ---- */
EMU_API cudaError_t cudaStreamCreate(cudaStream_t *stream);
EMU_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags);
EMU_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int priority);
EMU_API cudaError_t cudaStreamDestroy(cudaStream_t stream);
EMU_API cudaError_t cudaStreamSynchronize(cudaStream_t stream);
EMU_API cudaError_t cudaStreamQuery(cudaStream_t stream);
EMU_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags);
EMU_API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data);
EMU_API cudaError_t cudaEventCreate(cudaEvent_t *event);
EMU_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags);
EMU_API cudaError_t cudaEventDestroy(cudaEvent_t event);
EMU_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
EMU_API cudaError_t cudaEventQuery(cudaEvent_t event);
EMU_API cudaError_t cudaEventSynchronize(cudaEvent_t event);
EMU_API cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end);

/* ---- graphs ---- */
EMU_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
EMU_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
EMU_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status);
EMU_API cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode);
EMU_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count);
EMU_API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
EMU_API cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
EMU_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
EMU_API cudaError_t cudaGraphDestroy(cudaGraph_t graph);
EMU_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

#ifdef __cplusplus
}
#endif
#endif
