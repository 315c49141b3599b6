/* Streams, events, launches and what a stream records. Work runs when it is enqueued, on the caller's thread; or, where
 * CREDENCE_EMULATOR_LAZY=1 was set when the stream was created, not before somebody waits for it. */
#include <time.h>

#include <cstdlib>
#include <string>

#include "runtime.h"

namespace emu {

Registry<emu_stream> streams;
std::recursive_mutex streams_stay;
Registry<emu_event> events;

namespace {

/* Lazy streams run each other's work, so they share one lock. */
std::recursive_mutex lazy_mutex;

std::mutex event_mutex;

thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Order order_asked() {
  const std::string text = environment("CREDENCE_EMULATOR_ORDER");
  Order order;
  if (text == "reverse") order.kind = Order::kReverse;
  if (text.compare(0, 8, "shuffle:") == 0) {
    order.kind = Order::kShuffle;
    order.state = strtoull(text.c_str() + 8, nullptr, 10);
  }
  return order;
}

emu_stream *make_stream(Device *device, unsigned flags) {
  emu_stream *stream = new emu_stream;
  stream->device = device;
  stream->flags = flags;
  stream->order = order_asked();
  stream->lazy = environment("CREDENCE_EMULATOR_LAZY") == "1";
  stream->mutex = stream->lazy ? &lazy_mutex : &stream->own;
  return stream;
}

/* The default stream: never lazy, as it waits for the others and they for it. */
emu_stream *legacy(Device &device) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> hold(mutex);
  if (device.legacy == nullptr) {
    device.legacy = make_stream(&device, cudaStreamDefault);
    device.legacy->lazy = false;
    device.legacy->mutex = &device.legacy->own;
  }
  return device.legacy;
}

/* The device's streams that the default stream waits for. */
cudaError_t drain_blocking(Device *device) {
  const std::lock_guard<std::recursive_mutex> stay(streams_stay);
  for (emu_stream *other : streams.all()) {
    if (other->device != device || (other->flags & cudaStreamNonBlocking) != 0) continue;
    const std::lock_guard<std::recursive_mutex> hold(*other->mutex);
    if (other->capture != nullptr) {
      other->capture->invalid = true;
      return cudaErrorStreamCaptureImplicit;
    }
    const cudaError_t error = drain(other);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t broken(Device *device) {
  const int pending = device->pending.exchange(cudaSuccess);
  if (pending != cudaSuccess) device->sticky = pending;
  return static_cast<cudaError_t>(device->sticky.load());
}

cudaError_t refuse(Capture *capture, cudaError_t error) {
  capture->invalid = true;
  return error;
}

}  // namespace

emu_stream *resolve(cudaStream_t stream) {
  if (stream == nullptr || stream == cudaStreamLegacy) return legacy(current());
  return streams.has(stream) ? stream : nullptr;
}

cudaError_t drain(emu_stream *stream) {
  const std::lock_guard<std::recursive_mutex> hold(*stream->mutex);
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (stream->device->sticky != cudaSuccess) continue;
    const cudaError_t error = work(stream);
    if (error != cudaSuccess) stream->device->sticky = error;
  }
  return static_cast<cudaError_t>(stream->device->sticky.load());
}

cudaError_t enqueue(emu_stream *stream, Work work) {
  if (stream == stream->device->legacy) {
    const cudaError_t error = drain_blocking(stream->device);
    if (error != cudaSuccess) return error;
  }
  const std::lock_guard<std::recursive_mutex> hold(*stream->mutex);
  if (stream->capture != nullptr) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture->work.push_back(std::move(work));
    return cudaSuccess;
  }
  stream->queue.push_back(std::move(work));
  return stream->lazy ? cudaSuccess : drain(stream);
}

/* CUDA Runtime API, cudaThreadExchangeStreamCaptureMode: what a thread may not do while it or others record. */
cudaError_t refuse_while_capturing() {
  if (capture_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  const std::lock_guard<std::recursive_mutex> stay(streams_stay);
  for (emu_stream *stream : streams.all()) {
    const std::lock_guard<std::recursive_mutex> hold(*stream->mutex);
    Capture *capture = stream->capture.get();
    if (capture == nullptr || capture->mode == cudaStreamCaptureModeRelaxed) continue;
    const bool ours = capture->thread == std::this_thread::get_id();
    const bool theirs = capture->mode == cudaStreamCaptureModeGlobal && capture_mode == cudaStreamCaptureModeGlobal;
    if (ours || theirs) error = refuse(capture, cudaErrorStreamCaptureUnsupported);
  }
  return error;
}

}  // namespace emu

using emu::call;
using emu::Device;
using Hold = std::lock_guard<std::recursive_mutex>;

cudaError_t emu_enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  return call([&](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    return emu::enqueue(s, [work = std::move(work)](emu_stream *) { return work(); });
  });
}

cudaError_t emu_launch_in(const void *module, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                          std::function<void()> body) {
  return call([&](Device &d) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr || s->device != &d) return cudaErrorInvalidResourceHandle;
    const unsigned long long threads = 1ull * block.x * block.y * block.z;
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || threads < 1) return cudaErrorInvalidConfiguration;
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
    if (block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024) return cudaErrorInvalidConfiguration;
    if (shared > EMU_SHARED_OPTIN) return cudaErrorInvalidValue;
    const emu::Launch launch = {module, grid, block, shared, std::move(body)};
    return emu::enqueue(s, [launch](emu_stream *on) {
      const std::string failure = emu::run_grid(launch, &on->order);
      if (failure.empty()) return cudaSuccess;
      emu::set_failure(failure);
      return cudaErrorLaunchFailure;
    });
  });
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  return call([=](Device &d) {
    if (stream == nullptr || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = emu::make_stream(&d, flags);
    emu::streams.add(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

/* Work still to be done is done first. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!emu::streams.has(stream)) return emu::remember(cudaErrorInvalidResourceHandle);
  emu::drain(stream);
  {
    const Hold stay(emu::streams_stay);
    if (emu::streams.remove(stream)) delete stream;
  }
  return call([](Device &) { return cudaSuccess; });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const Hold hold(*s->mutex);
    if (s->capture != nullptr) return emu::refuse(s->capture.get(), cudaErrorStreamCaptureUnsupported);
    cudaError_t error = s == s->device->legacy ? emu::drain_blocking(s->device) : cudaSuccess;
    if (error == cudaSuccess) error = emu::drain(s);
    return error != cudaSuccess ? error : emu::broken(s->device);
  });
}

cudaError_t cudaDeviceSynchronize(void) {
  return call([](Device &d) {
    cudaError_t error = emu::refuse_while_capturing();
    const Hold stay(emu::streams_stay);
    for (emu_stream *stream : emu::streams.all())
      if (error == cudaSuccess && stream->device == &d) error = emu::drain(stream);
    return error != cudaSuccess ? error : emu::broken(&d);
  });
}

/* One piece of work each time, so that who asks again and again gets there. */
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const Hold hold(*s->mutex);
    if (s->capture != nullptr) return emu::refuse(s->capture.get(), cudaErrorStreamCaptureUnsupported);
    if (s->queue.empty()) return emu::broken(s->device);
    std::deque<emu::Work> later;
    later.swap(s->queue);
    s->queue.push_back(std::move(later.front()));
    later.pop_front();
    const cudaError_t error = emu::drain(s);
    s->queue.swap(later);
    return error != cudaSuccess ? error : cudaErrorNotReady;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data) {
  if (function == nullptr) return emu::remember(cudaErrorInvalidValue);
  return emu_enqueue(stream, [=] {
    function(data);
    return cudaSuccess;
  });
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  return call([=](Device &d) {
    if (event == nullptr || flags > 7) return cudaErrorInvalidValue;
    *event = new emu_event;
    (*event)->device = &d;
    (*event)->flags = flags;
    emu::events.add(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (!emu::events.remove(event)) return emu::remember(cudaErrorInvalidResourceHandle);
  delete event;
  return call([](Device &) { return cudaSuccess; });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr || !emu::events.has(event) || event->device != s->device) return cudaErrorInvalidResourceHandle;
    auto mark = std::make_shared<emu::Mark>();
    mark->stream = s;
    {
      const Hold hold(*s->mutex);
      const std::lock_guard<std::mutex> hold_event(emu::event_mutex);
      event->captured = s->capture != nullptr;
      event->mark = event->captured ? nullptr : mark;
      if (event->captured) return s->capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    }
    return emu::enqueue(s, [mark](emu_stream *) {
      mark->seconds = emu::now();
      mark->passed = true;
      return cudaSuccess;
    });
  });
}

namespace {

/* Where the event was last recorded: nullptr if never. */
cudaError_t last_mark(cudaEvent_t event, std::shared_ptr<emu::Mark> *mark) {
  if (!emu::events.has(event)) return cudaErrorInvalidResourceHandle;
  const std::lock_guard<std::mutex> hold(emu::event_mutex);
  if (event->captured) return cudaErrorCapturedEvent;
  *mark = event->mark;
  return cudaSuccess;
}

/* Runs its stream up to it and beyond. A destroyed stream has passed all of its marks. */
cudaError_t reach(const std::shared_ptr<emu::Mark> &mark) {
  return mark == nullptr || mark->passed ? cudaSuccess : emu::drain(mark->stream);
}

}  // namespace

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    std::shared_ptr<emu::Mark> mark;
    const cudaError_t error = last_mark(event, &mark);
    const Hold hold(*s->mutex);
    if (s->capture != nullptr && error == cudaErrorCapturedEvent) return cudaSuccess; /* its own */
    if (s->capture != nullptr) return emu::refuse(s->capture.get(), cudaErrorStreamCaptureIsolation);
    if (error != cudaSuccess) return error;
    return emu::enqueue(s, [mark](emu_stream *) { return reach(mark); });
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([=](Device &) {
    std::shared_ptr<emu::Mark> mark;
    cudaError_t error = last_mark(event, &mark);
    if (error == cudaSuccess) error = emu::refuse_while_capturing();
    if (error != cudaSuccess) return error;
    if (mark == nullptr || mark->passed) return emu::broken(event->device);
    error = cudaStreamQuery(mark->stream);
    return error == cudaSuccess || mark->passed ? emu::broken(event->device) : error;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([=](Device &) {
    std::shared_ptr<emu::Mark> mark;
    cudaError_t error = last_mark(event, &mark);
    if (error == cudaSuccess) error = emu::refuse_while_capturing();
    if (error == cudaSuccess) error = reach(mark);
    return error != cudaSuccess ? error : emu::broken(event->device);
  });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([=](Device &) {
    std::shared_ptr<emu::Mark> from, to;
    cudaError_t error = last_mark(start, &from);
    if (error == cudaSuccess) error = last_mark(end, &to);
    if (error != cudaSuccess) return error;
    if (milliseconds == nullptr) return cudaErrorInvalidValue;
    if (from == nullptr || to == nullptr || ((start->flags | end->flags) & cudaEventDisableTiming) != 0)
      return cudaErrorInvalidResourceHandle;
    if (!from->passed || !to->passed) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(1e3 * (to->seconds - from->seconds));
    return cudaSuccess;
  });
}

/* ---- recording ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (mode > cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
    if (s == s->device->legacy) return cudaErrorStreamCaptureUnsupported;
    const Hold hold(*s->mutex);
    if (s->capture != nullptr) return cudaErrorIllegalState;
    s->capture = std::make_unique<emu::Capture>();
    s->capture->mode = mode;
    s->capture->thread = std::this_thread::get_id();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  if (graph != nullptr) *graph = nullptr;
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (graph == nullptr) return cudaErrorInvalidValue;
    const Hold hold(*s->mutex);
    if (s->capture == nullptr) return cudaErrorIllegalState;
    if (s->capture->mode != cudaStreamCaptureModeRelaxed && s->capture->thread != std::this_thread::get_id())
      return emu::refuse(s->capture.get(), cudaErrorStreamCaptureWrongThread);
    const std::unique_ptr<emu::Capture> capture = std::move(s->capture);
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    *graph = emu::make_graph(std::move(capture->work));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  return call([=](Device &) {
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (status == nullptr) return cudaErrorInvalidValue;
    const Hold hold(*s->mutex);
    *status = s->capture == nullptr ? cudaStreamCaptureStatusNone
              : s->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
  if (mode == nullptr || *mode > cudaStreamCaptureModeRelaxed) return emu::remember(cudaErrorInvalidValue);
  const cudaStreamCaptureMode before = emu::capture_mode;
  emu::capture_mode = *mode;
  *mode = before;
  return cudaSuccess;
}
