/* What the emulated runtime must do as CUDA does: memory, streams, events, recording, errors. */
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "check.h"
#include "emulator.h"

namespace {

cudaStream_t make_stream(bool lazy = false) {
  setenv("CREDENCE_EMULATOR_LAZY", lazy ? "1" : "0", 1);
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  return stream;
}

/* x[k] += amount for n ints. */
cudaError_t add(cudaStream_t stream, int *x, int n, int amount) {
  return emu_launch(dim3(1), dim3(static_cast<unsigned>(n)), 0, stream, [=] { x[threadIdx.x] += amount; });
}

void devices() {
  int count = 0, value = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess && count == 2);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 1) == cudaSuccess && value == 132);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 2) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice && cudaSetDevice(1) == cudaSuccess);
  CHECK(cudaGetDevice(&value) == cudaSuccess && value == 1);
  cudaStream_t stream = make_stream();
  CHECK(cudaSetDevice(0) == cudaSuccess);
  CHECK(emu_launch(dim3(1), dim3(1), 0, stream, [] {}) == cudaErrorInvalidResourceHandle); /* not its device */
  CHECK(cudaStreamDestroy(stream) == cudaSuccess && cudaStreamDestroy(stream) == cudaErrorInvalidResourceHandle);
  CHECK(strcmp(cudaGetErrorName(cudaErrorLaunchFailure), "cudaErrorLaunchFailure") == 0);
  cudaGetLastError();
}

void memory() {
  size_t before = 0, after = 0, total = 0;
  CHECK(cudaMemGetInfo(&before, &total) == cudaSuccess && total == 64 << 20);
  unsigned char *x = nullptr, *y = nullptr, host[100] = {};
  CHECK(cudaMalloc(&x, 100) == cudaSuccess && reinterpret_cast<uintptr_t>(x) % 256 == 0);
  CHECK(cudaMalloc(&y, (64 << 20) - 99) == cudaErrorMemoryAllocation && y == nullptr);
  CHECK(cudaMalloc(&y, SIZE_MAX) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&y, 0) == cudaSuccess && y == nullptr);
  CHECK(cudaMemGetInfo(&after, &total) == cudaSuccess && before - after == 100);
  CHECK(cudaMemcpy(host, x, 100, cudaMemcpyDeviceToHost) == cudaSuccess);
  for (unsigned char c : host) CHECK(c == 0xff);
  CHECK(cudaMemset(x, 7, 100) == cudaSuccess && cudaMemset(x, 7, 101) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(host, x + 99, 2, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue); /* beyond its end */
  CHECK(cudaMemcpy(host, x, 100, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);    /* the wrong way */
  CHECK(cudaMemcpy(host, x, 100, cudaMemcpyDefault) == cudaSuccess && host[0] == 7 && host[99] == 7);
  CHECK(cudaFree(x + 1) == cudaErrorInvalidValue && cudaFree(x) == cudaSuccess && cudaFree(x) == cudaErrorInvalidValue);
  CHECK(cudaFree(nullptr) == cudaSuccess);
  CHECK(cudaMallocHost(&x, 8) == cudaSuccess && cudaFree(x) == cudaErrorInvalidValue && cudaFreeHost(x) == cudaSuccess);

  cudaMemPool_t pool = nullptr;
  cudaMemPoolProps props = {};
  CHECK(cudaMemPoolCreate(&pool, &props) == cudaErrorInvalidValue);
  props.allocType = cudaMemAllocationTypePinned;
  props.location = {cudaMemLocationTypeDevice, 0};
  CHECK(cudaMemPoolCreate(&pool, &props) == cudaSuccess);
  uint64_t used = 0, keep = UINT64_MAX;
  CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep) == cudaSuccess);
  cudaStream_t stream = make_stream();
  void *p = nullptr;
  CHECK(cudaMallocFromPoolAsync(&p, 1000, pool, stream) == cudaSuccess);
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used) == cudaSuccess && used == 1000);
  CHECK(emu_live().allocations == 1 && emu_live().pools == 1 && emu_live().streams == 1);
  CHECK(cudaMemPoolDestroy(pool) == cudaSuccess && cudaFreeAsync(p, stream) == cudaSuccess);
  CHECK(cudaMallocAsync(&p, 1000, stream) == cudaSuccess && cudaFreeAsync(p, stream) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}

/* Nothing of a lazy stream has happened before somebody waits; then all of it has, in order. */
void lazy() {
  cudaStream_t stream = make_stream(true), other = make_stream(true);
  cudaEvent_t event = nullptr, end = nullptr;
  int *x = nullptr, host[4] = {1, 2, 3, 4};
  CHECK(cudaMalloc(&x, sizeof host) == cudaSuccess && cudaEventCreate(&event) == cudaSuccess);
  CHECK(cudaEventCreate(&end) == cudaSuccess);
  CHECK(cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  CHECK(add(stream, x, 4, 10) == cudaSuccess && cudaEventRecord(event, stream) == cudaSuccess);
  CHECK(add(stream, x, 4, 100) == cudaSuccess);
  host[0] = 5; /* too early: the copy sees it */
  CHECK(x[1] == -1 && cudaEventQuery(event) == cudaErrorNotReady);
  CHECK(cudaStreamWaitEvent(other, event, 0) == cudaSuccess);
  CHECK(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, other) == cudaSuccess);
  CHECK(cudaEventRecord(end, other) == cudaSuccess && host[1] == 2);
  CHECK(cudaStreamSynchronize(other) == cudaSuccess);
  CHECK((host[0] == 15 || host[0] == 115) && (host[3] == 14 || host[3] == 114));
  CHECK(cudaEventQuery(event) == cudaSuccess);
  float ms = -1;
  CHECK(cudaEventElapsedTime(&ms, event, end) == cudaSuccess && ms >= 0);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess && x[0] == 115);
  CHECK(add(stream, x, 4, 1) == cudaSuccess);
  cudaError_t error;
  int asked = 0;
  while ((error = cudaStreamQuery(stream)) == cudaErrorNotReady) asked++;
  CHECK(error == cudaSuccess && asked > 0 && x[0] == 116);
  CHECK(add(stream, x, 4, 1) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess && x[0] == 117);
  CHECK(cudaFreeAsync(x, stream) == cudaSuccess && emu_live().allocations == 1);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess && emu_live().allocations == 0);
  CHECK(cudaStreamDestroy(other) == cudaSuccess && cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaEventDestroy(end) == cudaSuccess);
  cudaGetLastError();
}

void capture() {
  for (const bool is_lazy : {false, true}) {
    cudaStream_t stream = make_stream(is_lazy);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    cudaStreamCaptureStatus status;
    size_t nodes = 0;
    int *x = nullptr, amount = 5;
    CHECK(cudaMalloc(&x, 4 * sizeof *x) == cudaSuccess);
    CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaErrorIllegalState);
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess && status == cudaStreamCaptureStatusActive);
    CHECK(cudaMemsetAsync(x, 0, 4 * sizeof *x, stream) == cudaSuccess);
    CHECK(add(stream, x, 4, amount) == cudaSuccess);
    amount = 6; /* recorded arguments are copies */
    CHECK(x[0] == -1 && cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess && status == cudaStreamCaptureStatusNone);
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess && nodes == 2);
    CHECK(cudaGraphInstantiateWithFlags(&exec, graph, 0) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess);
    for (int k = 0; k < 3; k++) {
      CHECK(cudaGraphLaunch(exec, stream) == cudaSuccess && add(stream, x, 4, 1) == cudaSuccess);
      CHECK(cudaStreamSynchronize(stream) == cudaSuccess && x[0] == 6);
    }
    CHECK(cudaGraphExecDestroy(exec) == cudaSuccess && cudaGraphExecDestroy(exec) == cudaErrorInvalidValue);

    /* What may not be done while recording ends it. */
    void *p = nullptr;
    cudaEvent_t event = nullptr;
    CHECK(cudaEventCreate(&event) == cudaSuccess && cudaEventRecord(event, stream) == cudaSuccess);
    const std::function<cudaError_t()> wrong[] = {
        [&] { return cudaStreamSynchronize(stream); },
        [&] { return cudaStreamQuery(stream); },
        [&] { return cudaDeviceSynchronize(); },
        [&] { return cudaMalloc(&p, 8); },
        [&] { return cudaFree(x); },
        [&] { return cudaHostAlloc(&p, 8, 0); },
        [&] { return cudaMallocAsync(&p, 8, stream); },
        [&] { return cudaMemcpy(x, &amount, 4, cudaMemcpyHostToDevice); },
        [&] { return cudaEventSynchronize(event); },
    };
    for (const auto &call : wrong) {
      CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
      CHECK(call() == cudaErrorStreamCaptureUnsupported && p == nullptr);
      CHECK(add(stream, x, 4, 1) == cudaErrorStreamCaptureInvalidated);
      CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && graph == nullptr);
    }
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
    CHECK(cudaMalloc(&p, 8) == cudaSuccess && cudaFree(p) == cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) != cudaErrorIllegalState);
    if (graph != nullptr) CHECK(cudaGraphDestroy(graph) == cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorIllegalState);
    CHECK(cudaFree(x) == cudaSuccess && cudaEventDestroy(event) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    cudaGetLastError();
  }
}

/* A device that breaks stays broken, and gives its memory back all the same. */
void broken() {
  cudaStream_t stream = make_stream();
  int *x = nullptr;
  void *host = nullptr;
  CHECK(cudaMalloc(&x, 4) == cudaSuccess && cudaMallocHost(&host, 4) == cudaSuccess);
  emu_break(0, cudaErrorLaunchFailure);
  CHECK(add(stream, x, 1, 1) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  CHECK(add(stream, x, 1, 1) == cudaErrorLaunchFailure && cudaStreamQuery(stream) == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure && cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cudaSetDevice(1) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess && cudaSetDevice(0) != cudaSuccess);
  CHECK(cudaFree(x) == cudaErrorLaunchFailure && cudaFreeHost(host) == cudaErrorLaunchFailure);
  CHECK(cudaStreamDestroy(stream) == cudaErrorLaunchFailure);
  emu_mend();
  CHECK(cudaDeviceSynchronize() == cudaSuccess && cudaGetLastError() == cudaSuccess);
}

}  // namespace

int main() {
  setenv("CREDENCE_EMULATOR_DEVICES", "2", 1);
  setenv("CREDENCE_EMULATOR_MEMORY", "67108864", 1);
  devices();
  memory();
  lazy();
  capture();
  broken();
  const emu_counts n = emu_live();
  CHECK(n.allocations == 0 && n.host_allocations == 0 && n.pools == 0 && n.streams == 0);
  CHECK(n.events == 0 && n.graphs == 0 && n.execs == 0);
  return report("emulator: runtime");
}
