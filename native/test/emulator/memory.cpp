/* Device and pinned memory: each allocation stands alone, of exactly the size asked for, full of garbage. */
#include <cstdlib>
#include <cstring>
#include <map>

#include "garbage.h"
#include "runtime.h"

struct emu_pool {
  emu::Device *device;
  uint64_t threshold = 0, used = 0, used_high = 0; /* under the mutex of the table */
  bool destroyed = false;
  int attributes[4] = {0, 1, 1, 1};
};

namespace emu {
namespace {

struct Allocation {
  size_t bytes;
  Device *device; /* nullptr: pinned host memory */
  emu_pool *pool;
};

std::mutex table_mutex;
std::map<uintptr_t, Allocation> table; /* by address */
int64_t pools;                         /* made by cudaMemPoolCreate */

enum class Place { kHost, kDevice, kBeyond };

/* Where bytes [at, at + bytes) lie; kBeyond: they begin in device memory, or behind it, and do not stay inside. */
Place place_of(const void *memory, size_t bytes) {
  const std::lock_guard<std::mutex> hold(table_mutex);
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
  auto next = table.upper_bound(at);
  if (next == table.begin()) return Place::kHost;
  const auto &found = *--next;
  const size_t offset = at - found.first;
  if (found.second.device == nullptr || offset >= found.second.bytes) return Place::kHost;
  return bytes <= found.second.bytes - offset ? Place::kDevice : Place::kBeyond;
}

cudaError_t allocate(void **memory, size_t bytes, Device *device, emu_pool *pool) {
  if (memory == nullptr) return cudaErrorInvalidValue;
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (device != nullptr) {
    size_t used = device->used.load();
    do {
      if (bytes > memory_bytes() || used > memory_bytes() - bytes) return cudaErrorMemoryAllocation;
    } while (!device->used.compare_exchange_weak(used, used + bytes));
  }
  void *p = bytes <= SIZE_MAX / 2 ? aligned_garbage(bytes, 256) : nullptr;
  if (p == nullptr) {
    if (device != nullptr) device->used -= bytes;
    return cudaErrorMemoryAllocation;
  }
  const std::lock_guard<std::mutex> hold(table_mutex);
  table[reinterpret_cast<uintptr_t>(p)] = {bytes, device, pool};
  if (pool != nullptr) {
    pool->used += bytes;
    if (pool->used > pool->used_high) pool->used_high = pool->used;
  }
  *memory = p;
  return cudaSuccess;
}

cudaError_t release(void *memory, bool host) {
  if (memory == nullptr) return cudaSuccess;
  {
    const std::lock_guard<std::mutex> hold(table_mutex);
    auto found = table.find(reinterpret_cast<uintptr_t>(memory));
    if (found == table.end() || (found->second.device == nullptr) != host) return cudaErrorInvalidValue;
    const Allocation a = found->second;
    table.erase(found);
    if (a.device != nullptr) a.device->used -= a.bytes;
    if (a.pool != nullptr) {
      a.pool->used -= a.bytes;
      if (a.pool->destroyed && a.pool->used == 0) delete a.pool;
    }
  }
  free(memory);
  return cudaSuccess;
}

cudaError_t check_copy(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  const Place t = place_of(to, bytes), f = place_of(from, bytes);
  if (t == Place::kBeyond || f == Place::kBeyond) return cudaErrorInvalidValue;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return (t == Place::kDevice) == to_device && (f == Place::kDevice) == from_device ? cudaSuccess
                                                                                    : cudaErrorInvalidValue;
}

Work copy_work(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  return [=](emu_stream *) {
    if (check_copy(to, from, bytes, kind) != cudaSuccess) { /* freed in the meantime */
      set_failure("a copy's memory was freed before the copy ran");
      return cudaErrorIllegalAddress;
    }
    if (bytes > 0) memmove(to, from, bytes);
    return cudaSuccess;
  };
}

Work fill_work(void *memory, int value, size_t bytes) {
  return [=](emu_stream *) {
    if (bytes > 0 && place_of(memory, bytes) != Place::kDevice) {
      set_failure("the memory of a cudaMemsetAsync was freed before it ran");
      return cudaErrorIllegalAddress;
    }
    if (bytes > 0) memset(memory, value, bytes);
    return cudaSuccess;
  };
}

cudaError_t check_fill(const void *memory, size_t bytes) {
  return bytes == 0 || place_of(memory, bytes) == Place::kDevice ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t allocate_async(void **memory, size_t bytes, emu_pool *pool, cudaStream_t stream) {
  emu_stream *s = resolve(stream);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (s->capture != nullptr) { /* CUDA would record an allocation; we do not */
    s->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return allocate(memory, bytes, pool->device, pool);
}

emu_pool *default_pool(Device &device) {
  const std::lock_guard<std::mutex> hold(table_mutex);
  if (device.pool == nullptr) {
    static emu_pool pools_of_devices[8];
    device.pool = &pools_of_devices[device.index];
    device.pool->device = &device;
  }
  return device.pool;
}

int64_t count(bool host) {
  const std::lock_guard<std::mutex> hold(table_mutex);
  int64_t n = 0;
  for (const auto &entry : table) n += (entry.second.device == nullptr) == host;
  return n;
}

}  // namespace

int64_t live_allocations() { return count(false); }
int64_t live_host_allocations() { return count(true); }
int64_t live_pools() {
  const std::lock_guard<std::mutex> hold(table_mutex);
  return pools;
}

}  // namespace emu

using emu::call;
using emu::Device;

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  return call([=](Device &d) {
    const cudaError_t error = emu::refuse_while_capturing();
    return error != cudaSuccess ? error : emu::allocate(memory, bytes, &d, nullptr);
  });
}

/* Memory is given back even on a broken device, whose whole context would be: or every test of one would leak. */
cudaError_t cudaFree(void *memory) {
  const cudaError_t capturing = emu::refuse_while_capturing();
  if (capturing != cudaSuccess) return emu::remember(capturing);
  const cudaError_t synchronised = cudaDeviceSynchronize(); /* as cudaFree does */
  const cudaError_t error = emu::release(memory, false);
  return emu::remember(synchronised != cudaSuccess ? synchronised : error);
}

cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t stream) {
  return call([=](Device &d) { return emu::allocate_async(memory, bytes, emu::default_pool(d), stream); });
}

cudaError_t cudaMallocFromPoolAsync(void **memory, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return call([=](Device &) {
    return pool == nullptr ? cudaErrorInvalidValue : emu::allocate_async(memory, bytes, pool, stream);
  });
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
  emu_stream *s = emu::resolve(stream);
  if (s == nullptr) return emu::remember(cudaErrorInvalidResourceHandle);
  if (s->device->sticky != cudaSuccess) {
    emu::release(memory, false);
    return emu::remember(static_cast<cudaError_t>(s->device->sticky.load()));
  }
  if (memory != nullptr && emu::place_of(memory, 1) != emu::Place::kDevice) return emu::remember(cudaErrorInvalidValue);
  return emu::remember(emu::enqueue(s, [memory](emu_stream *) { return emu::release(memory, false); }));
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned int) {
  return call([=](Device &) {
    const cudaError_t error = emu::refuse_while_capturing();
    return error != cudaSuccess ? error : emu::allocate(memory, bytes, nullptr, nullptr);
  });
}

cudaError_t cudaMallocHost(void **memory, size_t bytes) { return cudaHostAlloc(memory, bytes, 0); }

cudaError_t cudaFreeHost(void *memory) {
  const cudaError_t error = emu::release(memory, true);
  return error != cudaSuccess ? emu::remember(error) : call([](Device &) { return emu::refuse_while_capturing(); });
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  return call([=](Device &d) {
    if (free == nullptr || total == nullptr) return cudaErrorInvalidValue;
    *total = emu::memory_bytes();
    *free = *total - d.used;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = emu::check_copy(to, from, bytes, kind);
    return error != cudaSuccess ? error : emu::enqueue(s, emu::copy_work(to, from, bytes, kind));
  });
}

/* On the legacy stream, and complete on return. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  return call([=](Device &) {
    cudaError_t error = emu::refuse_while_capturing();
    if (error == cudaSuccess) error = emu::check_copy(to, from, bytes, kind);
    if (error == cudaSuccess) error = emu::enqueue(emu::resolve(nullptr), emu::copy_work(to, from, bytes, kind));
    return error != cudaSuccess ? error : cudaStreamSynchronize(nullptr);
  });
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = emu::check_fill(memory, bytes);
    return error != cudaSuccess ? error : emu::enqueue(s, emu::fill_work(memory, value, bytes));
  });
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
  return call([=](Device &) {
    cudaError_t error = emu::refuse_while_capturing();
    if (error == cudaSuccess) error = emu::check_fill(memory, bytes);
    return error != cudaSuccess ? error : emu::enqueue(emu::resolve(nullptr), emu::fill_work(memory, value, bytes));
  });
}

/* ---- pools ---- */

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int index) {
  return call([=](Device &) {
    if (pool == nullptr) return cudaErrorInvalidValue;
    if (index < 0 || index >= emu::device_count()) return cudaErrorInvalidDevice;
    *pool = emu::default_pool(emu::device(index));
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *p) {
  return call([=](Device &) {
    if (pool == nullptr || p == nullptr || p->allocType != cudaMemAllocationTypePinned ||
        p->location.type != cudaMemLocationTypeDevice)
      return cudaErrorInvalidValue;
    if (p->location.id < 0 || p->location.id >= emu::device_count()) return cudaErrorInvalidDevice;
    *pool = new emu_pool;
    (*pool)->device = &emu::device(p->location.id);
    const std::lock_guard<std::mutex> hold(emu::table_mutex);
    emu::pools++;
    return cudaSuccess;
  });
}

/* What was allocated from it stays until it is freed. */
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  if (pool == nullptr || pool == pool->device->pool) return emu::remember(cudaErrorInvalidValue);
  {
    const std::lock_guard<std::mutex> hold(emu::table_mutex);
    emu::pools--;
    pool->destroyed = true;
    if (pool->used == 0) delete pool;
  }
  return call([](Device &) { return cudaSuccess; });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value) {
  return call([=](Device &) {
    if (pool == nullptr || value == nullptr) return cudaErrorInvalidValue;
    const std::lock_guard<std::mutex> hold(emu::table_mutex);
    if (attribute == cudaMemPoolAttrReleaseThreshold)
      pool->threshold = *static_cast<uint64_t *>(value);
    else if (attribute >= cudaMemPoolReuseFollowEventDependencies &&
             attribute <= cudaMemPoolReuseAllowInternalDependencies)
      pool->attributes[attribute] = *static_cast<int *>(value);
    else if (attribute == cudaMemPoolAttrUsedMemHigh || attribute == cudaMemPoolAttrReservedMemHigh)
      pool->used_high = pool->used;
    else
      return cudaErrorInvalidValue;
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value) {
  return call([=](Device &) {
    if (pool == nullptr || value == nullptr) return cudaErrorInvalidValue;
    const std::lock_guard<std::mutex> hold(emu::table_mutex);
    uint64_t *number = static_cast<uint64_t *>(value);
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        *number = pool->threshold;
        break;
      case cudaMemPoolAttrUsedMemCurrent:
      case cudaMemPoolAttrReservedMemCurrent:
        *number = pool->used;
        break;
      case cudaMemPoolAttrUsedMemHigh:
      case cudaMemPoolAttrReservedMemHigh:
        *number = pool->used_high;
        break;
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies:
        *static_cast<int *>(value) = pool->attributes[attribute];
        break;
      default:
        return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
  return call([=](Device &) { return pool == nullptr ? cudaErrorInvalidValue : cudaSuccess; });
}
