/* fiber.h: stacks of their own, switched by hand, on one thread of the host. */
#ifndef CREDENCE_EMULATOR_FIBER_H
#define CREDENCE_EMULATOR_FIBER_H

#include <cstddef>

#if !defined(__x86_64__) || defined(CREDENCE_EMULATOR_UCONTEXT)
#define EMU_UCONTEXT 1
#include <ucontext.h>
#endif

namespace emu {

/* A place to come back to. The one without a stack is the thread's own. */
struct Fiber {
  char *stack = nullptr; /* lowest address */
  size_t bytes = 0;
  void *fake_stack = nullptr; /* AddressSanitizer's */
  void (*entry)(void *) = nullptr;
  void *argument = nullptr;
#ifdef EMU_UCONTEXT
  ucontext_t context = {};
#else
  void *sp = nullptr;
#endif
};

/* A stack with a page below that cannot be touched. nullptr: no memory. */
Fiber *fiber_new();
void fiber_delete(Fiber *);
/* The next switch to the fiber calls entry(argument) on its empty stack. entry never returns. */
void fiber_start(Fiber *, void (*entry)(void *), void *argument);
/* Goes on in `to`; returns when somebody switches to `from`. */
void fiber_switch(Fiber *from, Fiber *to);

}  // namespace emu

#endif
