/* garbage.h: memory that nobody has written yet reads as NaN, as -1, as anything but what is hoped for. */
#ifndef CREDENCE_EMULATOR_GARBAGE_H
#define CREDENCE_EMULATOR_GARBAGE_H

#include <cstddef>

namespace emu {

constexpr int kGarbage = 0xff;

/* Of exactly this size, so that AddressSanitizer sees the byte behind it; nullptr: no memory. Freed by free. */
void *aligned_garbage(size_t bytes, size_t align);

/* This thread's thread-local variables of the library that an address lies in: its __shared__ variables. */
class ThreadLocals {
 public:
  explicit ThreadLocals(const void *module);
  void fill() const; /* with garbage */

 private:
  void *start_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace emu

#endif
