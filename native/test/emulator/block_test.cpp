/* What the emulator must do inside a launch: barriers, warps, shared memory, orders; and what it must find. */
#include <cuda_runtime.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "check.h"
#include "emulator.h"

namespace {

const char *const kOrders[] = {"forward", "reverse", "shuffle:1", "shuffle:2", "shuffle:3"};

/* Runs body in this order and says whether it succeeded; the device is whole afterwards. */
bool run(const char *order, dim3 grid, dim3 block, size_t shared, std::function<void()> body,
         std::string *why = nullptr) {
  setenv("CREDENCE_EMULATOR_ORDER", order, 1);
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream) == cudaSuccess);
  cudaError_t error = emu_launch(grid, block, shared, stream, std::move(body));
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  if (why != nullptr) *why = error == cudaSuccess ? "" : cudaGetErrorString(error);
  emu_mend();
  cudaStreamDestroy(stream);
  return error == cudaSuccess;
}

/* The kernel must fail, and the message must say this. */
bool fails_with(const char *text, dim3 block, std::function<void()> body) {
  for (const char *order : kOrders) {
    std::string why;
    if (run(order, dim3(2), block, 0, body, &why) || why.find(text) == std::string::npos) {
      fprintf(stderr, "%s: \"%s\", which says nothing of \"%s\"\n", order, why.c_str(), text);
      return false;
    }
  }
  return true;
}

/* Every thread of a grid runs once and knows its place. */
void places() {
  const dim3 grid(5, 3, 2), block(7, 4, 3);
  for (const char *order : kOrders) {
    std::vector<int> seen(5 * 3 * 2 * 7 * 4 * 3);
    CHECK(run(order, grid, block, 0, [&] {
      const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
      const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
      seen[b * 84 + t]++;
    }));
    for (int n : seen) CHECK(n == 1);
  }
}

/* The sum of a block's threads through shared memory, static and dynamic. */
void sum_kernel(const int *x, int *y) {
  __shared__ int fixed[256];
  int *dynamic = reinterpret_cast<int *>(emu_dynamic_shared());
  fixed[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  dynamic[threadIdx.x] = 1;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      fixed[threadIdx.x] += fixed[threadIdx.x + half];
      dynamic[threadIdx.x] += dynamic[threadIdx.x + half];
    }
  }
  if (threadIdx.x == 0) y[blockIdx.x] = fixed[0] * 1000 + dynamic[0];
}

/* The same with a barrier too few: a thread may read what another has not yet written. */
void racy_sum_kernel(const int *x, int *y) {
  __shared__ int part[256];
  part[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2)
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  if (threadIdx.x == 0) y[blockIdx.x] = part[0];
}

void barriers() {
  std::vector<int> x(3 * 256);
  for (size_t k = 0; k < x.size(); k++) x[k] = static_cast<int>(k * k % 97);
  int wrong = 0;
  for (const char *order : kOrders) {
    int y[3] = {}, racy[3] = {};
    CHECK(run(order, dim3(3), dim3(256), 256 * sizeof(int), [&] { sum_kernel(x.data(), y); }));
    CHECK(run(order, dim3(3), dim3(256), 0, [&] { racy_sum_kernel(x.data(), racy); }));
    for (int b = 0; b < 3; b++) {
      int sum = 0;
      for (int k = 0; k < 256; k++) sum += x[static_cast<size_t>(b * 256 + k)];
      CHECK(y[b] == sum * 1000 + 256);
      wrong += racy[b] != sum;
    }
  }
  CHECK(wrong > 0); /* an order has shown the race */

  for (const char *order : kOrders) {
    int result[3][64];
    CHECK(run(order, dim3(1), dim3(64), 0, [&] {
      const int k = static_cast<int>(threadIdx.x);
      result[0][k] = __syncthreads_or(k == 63);
      result[1][k] = __syncthreads_and(k != 63);
      result[2][k] = __syncthreads_count(k % 3 == 0);
    }));
    for (int k = 0; k < 64; k++) CHECK(result[0][k] != 0 && result[1][k] == 0 && result[2][k] == 22);
  }

  CHECK(fails_with("32 of 64 threads wait at a barrier and 32 have ended", dim3(64), [] {
    if (threadIdx.x >= 32) return;
    __syncthreads();
  }));
  const auto two_barriers = [] {
    if (threadIdx.x % 2 == 0)
      __syncthreads();
    else
      __syncthreads();
  };
  CHECK(fails_with("comes to another barrier", dim3(64), two_barriers));
}

void warps() {
  constexpr unsigned kAll = 0xffffffffu;
  for (const char *order : kOrders) {
    uint64_t y[10][64];
    CHECK(run(order, dim3(1), dim3(64), 0, [&] {
      const unsigned t = threadIdx.x, lane = t % 32;
      y[0][t] = __shfl_sync(kAll, t, 5);
      y[1][t] = __shfl_sync(kAll, t, 5, 8);
      y[2][t] = __shfl_up_sync(kAll, t, 3, 16);
      y[3][t] = __shfl_down_sync(kAll, t, 3, 16);
      y[4][t] = static_cast<uint64_t>(__shfl_xor_sync(kAll, -1.5 * t, 17));
      y[5][t] = __ballot_sync(kAll, lane % 3 == 0);
      y[6][t] = static_cast<uint64_t>(__any_sync(kAll, t == 40)) + 2 * static_cast<uint64_t>(__all_sync(kAll, t >= 32));
      if (lane < 16) /* half a warp by itself, many times */
        for (int k = 0; k < 5; k++) y[7][t] = __shfl_xor_sync(0xffffu, t, 1 + k);
      y[8][t] = static_cast<uint64_t>(static_cast<int64_t>(__shfl_down_sync(kAll, -static_cast<long long>(t), 31)));
      __syncwarp();
      y[9][t] = __activemask() >> lane & 1u;
    }));
    for (unsigned t = 0; t < 64; t++) {
      const unsigned lane = t % 32, warp = t - lane;
      CHECK(y[0][t] == warp + 5 && y[1][t] == warp + lane / 8 * 8 + 5);
      CHECK(y[2][t] == (lane % 16 >= 3 ? t - 3 : t) && y[3][t] == (lane % 16 < 13 ? t + 3 : t));
      CHECK(y[4][t] == static_cast<uint64_t>(-1.5 * (warp + (lane ^ 17))));
      CHECK(y[5][t] == 0x49249249u && y[6][t] == (warp == 0 ? 0 : 3));
      CHECK(lane >= 16 || y[7][t] == (t ^ 5));
      CHECK(y[8][t] == static_cast<uint64_t>(-static_cast<int64_t>(lane == 0 ? t + 31 : t)) && y[9][t] == 1);
    }
  }

  CHECK(fails_with("deadlock", dim3(32), [] {
    if (threadIdx.x < 16) __syncwarp();
    __shfl_sync(kAll, 1, 0);
  }));
  CHECK(fails_with("__shfl_sync of lanes 0xffffffff", dim3(32), [] { /* lane 1 ends before the others or after */
                                                                     if (threadIdx.x != 1) __shfl_sync(kAll, 1, 0);
  }));
  CHECK(fails_with("0x00000002 do not come", dim3(32), [] {
    if (threadIdx.x == 1) __ballot_sync(2u, 1);
    if (threadIdx.x == 1) __syncthreads();
    __shfl_sync(kAll, 1, 0);
  }));
  CHECK(fails_with("is not one of them", dim3(32), [] { __ballot_sync(0xffffu, 1); }));
  CHECK(fails_with("reads lane 20", dim3(32), [] {
    if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
  }));
  CHECK(fails_with("of a warp that has 16", dim3(48), [] { __ballot_sync(kAll, 1); }));
  CHECK(fails_with("must be a power of two", dim3(32), [] { __shfl_sync(kAll, 1, 0, 12); }));
  CHECK(fails_with("wait", dim3(64), [] { /* a warp in a shuffle, the others at a barrier */
                                          if (threadIdx.x == 7) __syncthreads();
                                          __shfl_sync(kAll, 1, 0);
                                          __syncthreads();
  }));
}

/* Shared memory is garbage at the start of each block, and ints that many threads add to lose nothing. */
void memory() {
  for (const char *order : kOrders) {
    int clean = 0, total = 0;
    unsigned least = 1000, most = 0;
    CHECK(run(order, dim3(4), dim3(32), 64, [&] {
      unsigned char *dynamic = emu_dynamic_shared();
      if (dynamic[threadIdx.x] != 0xff) clean++;
      __syncthreads();
      dynamic[threadIdx.x] = 1;
      atomicAdd(&total, 3);
      atomicMin(&least, blockIdx.x * 32 + threadIdx.x + 5);
      atomicMax(&most, blockIdx.x * 32 + threadIdx.x + 5);
    }));
    CHECK(clean == 0 && total == 3 * 4 * 32 && least == 5 && most == 4 * 32 + 4);
    CHECK(run(order, dim3(1), dim3(32), 0, [&] {
      __shared__ float part[32];
      if (part[threadIdx.x] == part[threadIdx.x]) clean++;
      __syncthreads();
      part[threadIdx.x] = 1;
    }));
    CHECK(clean == 0);
  }
}

void limits() {
  const auto nothing = [] {};
  CHECK(emu_launch(dim3(1), dim3(1025), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(1), dim3(32, 33), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(1), dim3(1, 1, 65), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(1, 65536), dim3(1), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(1, 1, 65536), dim3(1), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(0), dim3(1), 0, nullptr, nothing) == cudaErrorInvalidConfiguration);
  CHECK(emu_launch(dim3(1), dim3(1), 227 * 1024 + 1, nullptr, nothing) == cudaErrorInvalidValue);
  CHECK(emu_launch(dim3(1), dim3(1), 227 * 1024, nullptr, nothing) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaSuccess);
}

}  // namespace

int main() {
  places();
  barriers();
  warps();
  memory();
  limits();
  return report("emulator: blocks");
}
