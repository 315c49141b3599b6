/* block.h: runs the blocks of one launch, and says what a kernel does that CUDA leaves undefined. */
#ifndef CREDENCE_EMULATOR_BLOCK_H
#define CREDENCE_EMULATOR_BLOCK_H

#include <cuda_runtime.h>

#include <functional>
#include <string>

namespace emu {

/* In which order blocks run, and threads between two barriers. A kernel's results may not depend on it. */
struct Order {
  enum Kind { kForward, kReverse, kShuffle } kind = kForward;
  uint64_t state = 0; /* of the random numbers of kShuffle */
  uint64_t draw();    /* splitmix64 */
};

struct Launch {
  const void *module;
  dim3 grid, block;
  size_t shared;
  std::function<void()> body;
};

/* Runs it on this thread of the host. "" or what went wrong. */
std::string run_grid(const Launch &launch, Order *order);

}  // namespace emu

#endif
