#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

constexpr size_t kStack = 256 * 1024;

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

/* Who gave way to whom: of this thread of the host. */
thread_local emu::Fiber *left, *entered;

#ifdef EMU_ASAN
void finish_switch(void *fake_stack) {
  const void *bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
  if (left->stack != nullptr) return;
  left->stack = static_cast<char *>(const_cast<void *>(bottom)); /* the thread's own stack: now we know it */
  left->bytes = bytes;
}
#endif

void first_frame() {
#ifdef EMU_ASAN
  finish_switch(nullptr);
#endif
  entered->entry(entered->argument);
  __builtin_trap(); /* nowhere to return to */
}

}  // namespace

#ifndef EMU_UCONTEXT
/* Saves what a called function must preserve (System V ABI, AMD64) and takes up the other stack. */
extern "C" void emu_switch_stack(void **save, void *load);
asm(R"(
  .pushsection .text
  .hidden emu_switch_stack
  .globl emu_switch_stack
  .type emu_switch_stack, @function
emu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emu_switch_stack, . - emu_switch_stack
  .popsection
)");
#endif

namespace emu {

Fiber *fiber_new() {
  const size_t page = page_size();
  void *memory =
      mmap(nullptr, kStack + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  mprotect(memory, page, PROT_NONE);
  Fiber *fiber = new Fiber;
  fiber->stack = static_cast<char *>(memory) + page;
  fiber->bytes = kStack;
  return fiber;
}

void fiber_delete(Fiber *fiber) {
  munmap(fiber->stack - page_size(), fiber->bytes + page_size());
  delete fiber;
}

/* A fiber may have been left in the middle of a kernel: nothing of it is wanted any more. */
void fiber_start(Fiber *fiber, void (*entry)(void *), void *argument) {
#ifdef EMU_ASAN
  char *used = fiber->stack; /* from here up */
#ifndef EMU_UCONTEXT
  used = fiber->sp != nullptr ? static_cast<char *>(fiber->sp) : fiber->stack + fiber->bytes;
#endif
  __asan_unpoison_memory_region(used, static_cast<size_t>(fiber->stack + fiber->bytes - used));
#endif
  fiber->fake_stack = nullptr;
  fiber->entry = entry;
  fiber->argument = argument;
#ifdef EMU_UCONTEXT
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = fiber->bytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, first_frame, 0);
#else
  void **top = reinterpret_cast<void **>(fiber->stack + fiber->bytes) - 2; /* aligned as after a call */
  *top = reinterpret_cast<void *>(first_frame);
  fiber->sp = top - 6; /* six registers, of which none matters */
#endif
}

__attribute__((noinline)) void fiber_switch(Fiber *from, Fiber *to) {
  left = from;
  entered = to;
#ifdef EMU_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
#endif
#ifdef EMU_UCONTEXT
  swapcontext(&from->context, &to->context);
#else
  emu_switch_stack(&from->sp, to->sp);
#endif
#ifdef EMU_ASAN
  finish_switch(from->fake_stack);
#endif
}

}  // namespace emu
