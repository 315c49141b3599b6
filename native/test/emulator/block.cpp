/* The threads of a block are fibers, made when they are needed: one fiber runs thread after thread until one has to
 * wait, and only then is another one begun. So a kernel without barriers runs as a loop. */
#include "block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "fiber.h"
#include "garbage.h"

__thread const emu_place *emu_here;

namespace emu {
namespace {

constexpr unsigned kLanes = 32;

enum class State { kReady, kAtBarrier, kAtWarp, kExited };

struct Thread {
  emu_place place;
  State state;
  Fiber *fiber; /* nullptr: not begun */
  /* what it waits for */
  emu_site site;
  emu_warp_op op;
  unsigned mask;
  int argument, width;
  uint64_t value, result;
};

/* A fiber that fails is abandoned with all that is on its stack, so nothing there may own memory. */
struct Text {
  char chars[400];
};

const char *name(emu_warp_op op) {
  switch (op) {
    case EMU_WARP_SYNC:
      return "__syncwarp";
    case EMU_BALLOT:
      return "a vote";
    case EMU_SHUFFLE:
      return "__shfl_sync";
    case EMU_SHUFFLE_UP:
      return "__shfl_up_sync";
    case EMU_SHUFFLE_DOWN:
      return "__shfl_down_sync";
    default:
      return "__shfl_xor_sync";
  }
}

const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

class Grid {
 public:
  Grid() = default;
  Grid(const Grid &) = delete;
  ~Grid() {
    for (Fiber *fiber : fibers_) fiber_delete(fiber);
  }
  std::string run(const Launch &launch, Order *order);
  int wait_block(emu_barrier kind, int predicate, emu_site site);
  uint64_t wait_warp(emu_warp_op op, unsigned mask, uint64_t value, int argument, int width, emu_site site);
  unsigned lane() const { return id(running_) % kLanes; }
  unsigned char *shared() { return shared_; }

 private:
  static void enter(void *grid) { static_cast<Grid *>(grid)->work(); }
  void run_block(uint3 block);
  [[noreturn]] void work();
  Fiber *spare();
  void set_running(Thread *thread, Fiber *fiber);
  void give_way();
  [[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  [[noreturn]] void fail_stuck();
  void shuffle_threads();
  void complete_warp(Thread *first, unsigned mask);
  static Text where(const Thread *thread);
  unsigned id(const Thread *thread) const { return static_cast<unsigned>(thread - threads_.data()); }

  const Launch *launch_ = nullptr;
  Order *order_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> sequence_; /* in which threads run that are ready at once */
  std::deque<Thread *> ready_;
  Thread *running_ = nullptr;
  Fiber host_, *fiber_ = nullptr;       /* the thread's own; the one that runs */
  std::vector<Fiber *> fibers_, spare_; /* all; those without a thread, in this launch */
  size_t begun_ = 0;                    /* of fibers_ */
  unsigned waiting_ = 0, exited_ = 0;
  std::vector<unsigned> warp_waits_, warp_ended_; /* of each warp: lanes at a warp primitive, lanes that have ended */
  emu_barrier barrier_ = EMU_SYNC;
  emu_site barrier_site_ = {};
  int barrier_count_ = 0, barrier_result_ = 0;
  unsigned char *shared_ = nullptr;
  Text failure_ = {};
};

/* The grid that this thread of the host is running. */
thread_local Grid *running_grid;

/* TLS addresses may not be kept across a switch, so what reads them stays out of line. */
__attribute__((noinline)) void set_here(const emu_place *place) { emu_here = place; }

/* ---- blocks ---- */

unsigned long long gcd(unsigned long long a, unsigned long long b) { return b == 0 ? a : gcd(b, a % b); }

std::string Grid::run(const Launch &launch, Order *order) {
  launch_ = &launch;
  order_ = order;
  failure_ = {};
  host_ = Fiber();
  begun_ = 0;
  spare_.clear();
  const dim3 grid = launch.grid, block = launch.block;
  threads_.resize(block.x * block.y * block.z);
  for (unsigned k = 0; k < threads_.size(); k++)
    threads_[k].place = {{k % block.x, k / block.x % block.y, k / block.x / block.y}, {}, block, grid};
  const std::unique_ptr<unsigned char, void (*)(void *)> shared(
      static_cast<unsigned char *>(launch.shared > 0 ? aligned_garbage(launch.shared, 128) : nullptr), free);
  shared_ = shared.get();

  const ThreadLocals locals(launch.module);

  /* A shuffled order is a walk through all blocks by a step that has no divisor in common with their number. */
  const unsigned long long blocks = 1ull * grid.x * grid.y * grid.z;
  unsigned long long at = 0, step = 1;
  if (order->kind == Order::kReverse) at = blocks - 1, step = blocks - 1;
  if (order->kind == Order::kShuffle) {
    at = order->draw() % blocks;
    do {
      step = 1 + order->draw() % blocks;
    } while (gcd(step, blocks) != 1);
  }
  for (unsigned long long k = 0; k < blocks && failure_.chars[0] == '\0'; k++, at = (at + step) % blocks) {
    if (k == 0 || (k < 3 && order->kind != Order::kForward)) locals.fill(); /* megabytes: not before every block */
    if (shared_ != nullptr && k > 0) memset(shared_, kGarbage, launch.shared);
    run_block({static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
               static_cast<unsigned>(at / grid.x / grid.y)});
  }
  set_here(nullptr);
  return failure_.chars;
}

void Grid::run_block(uint3 block) {
  for (Thread &thread : threads_) {
    thread.place.block = block;
    thread.state = State::kReady;
    thread.fiber = nullptr;
  }
  waiting_ = exited_ = 0;
  warp_waits_.assign(threads_.size() / kLanes + 1, 0);
  warp_ended_.assign(threads_.size() / kLanes + 1, 0);
  shuffle_threads();
  ready_.clear();
  for (unsigned k : sequence_) ready_.push_back(&threads_[k]);
  fiber_ = spare();
  if (fiber_ == nullptr) {
    strcpy(failure_.chars, "no memory for a stack");
    return;
  }
  fiber_switch(&host_, fiber_);
}

void Grid::shuffle_threads() {
  const unsigned n = static_cast<unsigned>(threads_.size());
  if (sequence_.size() == n && order_->kind != Order::kShuffle &&
      sequence_[0] == (order_->kind == Order::kReverse ? n - 1 : 0))
    return;
  sequence_.resize(n);
  for (unsigned k = 0; k < n; k++) sequence_[k] = order_->kind == Order::kReverse ? n - 1 - k : k;
  if (order_->kind == Order::kShuffle)
    for (unsigned k = n; k > 1; k--) std::swap(sequence_[k - 1], sequence_[order_->draw() % k]);
}

/* ---- threads ---- */

/* A fiber at the start of work(), or parked in it. */
Fiber *Grid::spare() {
  Fiber *fiber;
  if (!spare_.empty()) {
    fiber = spare_.back();
    spare_.pop_back();
    return fiber;
  }
  if (begun_ == fibers_.size()) {
    fiber = fiber_new();
    if (fiber == nullptr) return nullptr;
    fibers_.push_back(fiber);
  }
  fiber = fibers_[begun_++];
  fiber_start(fiber, enter, this);
  return fiber;
}

void Grid::set_running(Thread *thread, Fiber *fiber) {
  running_ = thread;
  fiber_ = fiber;
  set_here(&thread->place);
}

/* What every fiber does: thread after thread, until all have been begun; then it gives way to those that wait. */
void Grid::work() {
  for (;;) {
    Fiber *self = fiber_;
    if (ready_.empty()) {
      if (exited_ < threads_.size()) fail_stuck();
      spare_.push_back(self);
      fiber_switch(self, &host_);
      continue;
    }
    Thread *thread = ready_.front();
    ready_.pop_front();
    if (thread->fiber != nullptr) {
      spare_.push_back(self);
      set_running(thread, thread->fiber);
      fiber_switch(self, thread->fiber);
      continue;
    }
    thread->fiber = self;
    set_running(thread, self);
    launch_->body();
    running_->state = State::kExited;
    warp_ended_[id(running_) / kLanes] |= 1u << id(running_) % kLanes;
    exited_++;
  }
}

/* The running thread has to wait; returns when it is its turn again. */
void Grid::give_way() {
  Thread *self = running_;
  if (ready_.empty()) fail_stuck();
  Thread *next = ready_.front();
  if (next == self) {
    ready_.pop_front();
    return;
  }
  Fiber *fiber = next->fiber;
  if (fiber != nullptr) {
    ready_.pop_front();
    set_running(next, fiber);
  } else { /* begun by a fiber of its own, which takes it from the queue */
    fiber = spare();
    if (fiber == nullptr) fail("no memory for a stack");
    fiber_ = fiber;
  }
  fiber_switch(self->fiber, fiber);
}

/* Ends the launch. */
void Grid::fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(failure_.chars, sizeof failure_.chars, format, args);
  va_end(args);
  fiber_switch(fiber_, &host_);
  __builtin_unreachable();
}

Text Grid::where(const Thread *thread) {
  const uint3 t = thread->place.thread, b = thread->place.block;
  Text text;
  snprintf(text.chars, sizeof text.chars, "thread (%u,%u,%u) of block (%u,%u,%u)", t.x, t.y, t.z, b.x, b.y, b.z);
  return text;
}

/* Nobody can go on. */
void Grid::fail_stuck() {
  const Thread *at_barrier = nullptr, *at_warp = nullptr;
  for (const Thread &thread : threads_) {
    if (thread.state == State::kAtBarrier && at_barrier == nullptr) at_barrier = &thread;
    if (thread.state == State::kAtWarp && at_warp == nullptr) at_warp = &thread;
  }
  if (at_warp == nullptr)
    fail("%s:%d: %u of %zu threads wait at a barrier and %u have ended; %s waits", file_name(at_barrier->site.file),
         at_barrier->site.line, waiting_, threads_.size(), exited_, where(at_barrier).chars);
  unsigned missing = 0;
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const Thread *other = at_warp - id(at_warp) % kLanes + lane;
    if ((at_warp->mask >> lane & 1u) != 0 &&
        (other->state != State::kAtWarp || other->op != at_warp->op || other->mask != at_warp->mask))
      missing |= 1u << lane;
  }
  fail("%s:%d: deadlock: %s waits at %s of lanes 0x%08x, of which 0x%08x do not come%s", file_name(at_warp->site.file),
       at_warp->site.line, where(at_warp).chars, name(at_warp->op), at_warp->mask, missing,
       at_barrier == nullptr ? "" : "; others wait at a barrier of the block");
}

/* ---- barriers ---- */

int Grid::wait_block(emu_barrier kind, int predicate, emu_site site) {
  Thread *self = running_;
  if (waiting_ == 0) {
    barrier_ = kind;
    barrier_site_ = site;
    barrier_count_ = 0;
  } else if (kind != barrier_ || site.line != barrier_site_.line || strcmp(site.file, barrier_site_.file) != 0) {
    fail("%s:%d: %s comes to another barrier than those that wait at %s:%d", file_name(site.file), site.line,
         where(self).chars, file_name(barrier_site_.file), barrier_site_.line);
  }
  self->state = State::kAtBarrier;
  self->site = site;
  barrier_count_ += predicate != 0;
  if (++waiting_ == threads_.size()) {
    barrier_result_ = kind == EMU_COUNT ? barrier_count_
                      : kind == EMU_AND ? barrier_count_ == static_cast<int>(threads_.size())
                                        : barrier_count_ > 0;
    waiting_ = 0;
    shuffle_threads();
    for (unsigned k : sequence_) {
      threads_[k].state = State::kReady;
      threads_[k].result = static_cast<uint64_t>(barrier_result_);
      ready_.push_back(&threads_[k]);
    }
  }
  give_way();
  return static_cast<int>(self->result);
}

/* ---- warps ---- */

uint64_t Grid::wait_warp(emu_warp_op op, unsigned mask, uint64_t value, int argument, int width, emu_site site) {
  Thread *self = running_;
  const unsigned at = id(self), lane = at % kLanes, first = at - lane;
  const unsigned lanes = static_cast<unsigned>(threads_.size()) - first;
  const char *file = file_name(site.file);
  if ((mask >> lane & 1u) == 0)
    fail("%s:%d: %s calls %s for lanes 0x%08x and is not one of them", file, site.line, where(self).chars, name(op),
         mask);
  if (lanes < kLanes && mask >> lanes != 0) {
    if (op != EMU_WARP_SYNC)
      fail("%s:%d: %s for lanes 0x%08x of a warp that has %u", file, site.line, name(op), mask, lanes);
    mask &= (1u << lanes) - 1;
  }
  if (width < 1 || width > 32 || (width & (width - 1)) != 0)
    fail("%s:%d: %s of width %d; it must be a power of two up to 32", file, site.line, name(op), width);
  self->state = State::kAtWarp;
  self->site = site;
  self->op = op;
  self->mask = mask;
  self->value = value;
  self->argument = argument;
  self->width = width;
  unsigned &waits = warp_waits_[at / kLanes];
  const unsigned ended = warp_ended_[at / kLanes] & mask;
  if (ended != 0)
    fail("%s:%d: %s waits at %s of lanes 0x%08x, of which 0x%08x have ended", file, site.line, where(self).chars,
         name(op), mask, ended);
  waits |= 1u << lane;
  bool complete = (waits & mask) == mask;
  for (unsigned k = 0; k < kLanes && complete; k++) {
    const Thread *other = &threads_[first + k];
    if ((mask >> k & 1u) != 0) complete = other->op == op && other->mask == mask;
  }
  if (complete) {
    waits &= ~mask;
    complete_warp(&threads_[first], mask);
  }
  give_way();
  return self->result;
}

/* The lane that a shuffle reads: PTX ISA, shfl.sync. */
unsigned source_lane(const Thread &thread, unsigned lane) {
  const unsigned width = static_cast<unsigned>(thread.width), low = lane & ~(width - 1), high = low + width - 1;
  const unsigned argument = static_cast<unsigned>(thread.argument);
  unsigned from = lane;
  if (thread.op == EMU_SHUFFLE) from = low + (argument & (width - 1));
  if (thread.op == EMU_SHUFFLE_UP && (argument & 31u) <= lane - low) from = lane - (argument & 31u);
  if (thread.op == EMU_SHUFFLE_DOWN && lane + (argument & 31u) <= high) from = lane + (argument & 31u);
  if (thread.op == EMU_SHUFFLE_XOR && (lane ^ (argument & 31u)) <= high) from = lane ^ (argument & 31u);
  return from;
}

void Grid::complete_warp(Thread *first, unsigned mask) {
  uint64_t ballot = 0;
  for (unsigned k = 0; k < kLanes; k++)
    if ((mask >> k & 1u) != 0 && first[k].value != 0) ballot |= 1u << k;
  for (unsigned k = 0; k < kLanes; k++) {
    if ((mask >> k & 1u) == 0) continue;
    Thread *thread = &first[k];
    if (thread->op == EMU_BALLOT || thread->op == EMU_WARP_SYNC) {
      thread->result = ballot;
      continue;
    }
    const unsigned from = source_lane(*thread, k);
    if ((mask >> from & 1u) == 0)
      fail("%s:%d: %s reads lane %u in %s of lanes 0x%08x, which does not take part", file_name(thread->site.file),
           thread->site.line, where(thread).chars, from, name(thread->op), mask);
    thread->result = first[from].value;
  }
  /* The warp goes on at once, or after the others. */
  const bool front = order_->kind != Order::kShuffle || order_->draw() % 2 == 0;
  Thread *lanes[kLanes];
  unsigned n = 0;
  for (unsigned k = 0; k < kLanes; k++)
    if ((mask >> k & 1u) != 0) lanes[n++] = &first[k];
  if (order_->kind == Order::kReverse) std::reverse(lanes, lanes + n);
  if (order_->kind == Order::kShuffle)
    for (unsigned k = n; k > 1; k--) std::swap(lanes[k - 1], lanes[order_->draw() % k]);
  for (unsigned k = 0; k < n; k++) lanes[k]->state = State::kReady;
  ready_.insert(front ? ready_.begin() : ready_.end(), lanes, lanes + n);
}

/* Grids, and with them their stacks, are kept for the next launch. */
std::mutex pool_mutex;
std::vector<std::unique_ptr<Grid>> pool;

__attribute__((noinline)) void set_grid(Grid *grid) { running_grid = grid; }

}  // namespace

uint64_t Order::draw() {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::string run_grid(const Launch &launch, Order *order) {
  std::unique_ptr<Grid> grid;
  {
    const std::lock_guard<std::mutex> hold(pool_mutex);
    if (!pool.empty()) {
      grid = std::move(pool.back());
      pool.pop_back();
    }
  }
  if (grid == nullptr) grid = std::make_unique<Grid>();
  set_grid(grid.get());
  std::string failure = grid->run(launch, order);
  set_grid(nullptr);
  const std::lock_guard<std::mutex> hold(pool_mutex);
  pool.push_back(std::move(grid));
  return failure;
}

}  // namespace emu

int emu_wait_block(emu_barrier kind, int predicate, emu_site site) {
  return emu::running_grid->wait_block(kind, predicate, site);
}
uint64_t emu_wait_warp(emu_warp_op op, unsigned mask, uint64_t value, int argument, int width, emu_site site) {
  return emu::running_grid->wait_warp(op, mask, value, argument, width, site);
}
unsigned emu_lane() { return emu::running_grid->lane(); }
unsigned char *emu_dynamic_shared() { return emu::running_grid->shared(); }
