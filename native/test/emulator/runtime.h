/* runtime.h: what the files of the emulated runtime API share. */
#ifndef CREDENCE_EMULATOR_RUNTIME_H
#define CREDENCE_EMULATOR_RUNTIME_H

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "block.h"
#include "emulator.h"

namespace emu {

struct Device {
  int index;
  std::atomic<int> sticky{cudaSuccess}, pending{cudaSuccess}; /* pending: from the next synchronisation on */
  std::atomic<size_t> used{0};
  cudaMemPool_t pool = nullptr;
  emu_stream *legacy = nullptr; /* the default stream */
};

/* ---- device.cpp ---- */
int device_count();
size_t memory_bytes(); /* of each device */
Device &device(int index);
Device &current();
cudaError_t remember(cudaError_t error); /* as this thread's last error; returns it */
std::string environment(const char *name);
void set_failure(const std::string &text);

/* What every call does: nothing, on a broken device. */
template <class F>
cudaError_t call(F f) {
  Device &d = current();
  const cudaError_t broken = static_cast<cudaError_t>(d.sticky.load());
  return remember(broken != cudaSuccess ? broken : f(d));
}

/* Handles that are alive: a stale one is an error and not a crash. */
template <class T>
class Registry {
 public:
  void add(T *handle) {
    const std::lock_guard<std::mutex> hold(mutex_);
    all_.insert(handle);
  }
  bool remove(T *handle) {
    const std::lock_guard<std::mutex> hold(mutex_);
    return all_.erase(handle) != 0;
  }
  bool has(T *handle) {
    const std::lock_guard<std::mutex> hold(mutex_);
    return all_.count(handle) != 0;
  }
  std::vector<T *> all() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return {all_.begin(), all_.end()};
  }
  int64_t count() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return static_cast<int64_t>(all_.size());
  }

 private:
  std::mutex mutex_;
  std::unordered_set<T *> all_;
};

/* ---- memory.cpp ---- */
int64_t live_allocations(), live_host_allocations(), live_pools();

/* ---- stream.cpp ---- */
/* Work of a stream or a graph; it runs on some stream. */
using Work = std::function<cudaError_t(emu_stream *)>;

/* A point that a stream comes to. */
struct Mark {
  emu_stream *stream;
  std::atomic<bool> passed{false};
  double seconds = 0;
};

/* Work being recorded. */
struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalid = false;
  std::vector<Work> work;
};

extern Registry<emu_stream> streams;
extern std::recursive_mutex streams_stay; /* held, no stream is destroyed: for going through all of them */
extern Registry<emu_event> events;
emu_stream *resolve(cudaStream_t stream); /* nullptr: no such stream */
cudaError_t enqueue(emu_stream *stream, Work work);
cudaError_t drain(emu_stream *stream);
/* A call that may not be made while work is recorded: the error, and the recording is lost. */
cudaError_t refuse_while_capturing();

/* ---- graph.cpp ---- */
extern Registry<emu_graph> graphs;
extern Registry<emu_graph_exec> execs;
emu_graph *make_graph(std::vector<Work> work);

}  // namespace emu

struct emu_stream {
  emu::Device *device;
  unsigned flags;
  emu::Order order;
  bool lazy; /* nothing runs before somebody waits for it */
  std::recursive_mutex own, *mutex;
  std::deque<emu::Work> queue;
  std::unique_ptr<emu::Capture> capture;
};

struct emu_event {
  emu::Device *device;
  unsigned flags;
  bool captured = false; /* last recorded in a capture: stands for no time */
  std::shared_ptr<emu::Mark> mark;
};

struct emu_graph {
  std::vector<emu::Work> work;
};
struct emu_graph_exec {
  emu::Device *device;
  std::shared_ptr<const std::vector<emu::Work>> work;
};

#endif
