/* emu_warp.h: barriers, warp primitives and atomics. Each call knows its place in the source, for messages and to tell
 * a barrier from another. */
#ifndef CREDENCE_EMULATOR_WARP_H
#define CREDENCE_EMULATOR_WARP_H

#include <cuda_runtime_api.h>

#include <cstring>
#include <type_traits>

struct emu_site {
  const char *file;
  int line;
};
#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

enum emu_barrier { EMU_SYNC, EMU_OR, EMU_AND, EMU_COUNT };
enum emu_warp_op { EMU_WARP_SYNC, EMU_BALLOT, EMU_SHUFFLE, EMU_SHUFFLE_UP, EMU_SHUFFLE_DOWN, EMU_SHUFFLE_XOR };

/* Wait for all threads of the block; the result of _or, _and, _count. */
EMU_API int emu_wait_block(emu_barrier kind, int predicate, emu_site site);
/* Wait for the lanes of mask; what the lane gets. argument: lane, delta or mask of a shuffle. */
EMU_API uint64_t emu_wait_warp(emu_warp_op op, unsigned mask, uint64_t value, int argument, int width, emu_site site);
EMU_API unsigned emu_lane();

inline void __syncthreads(EMU_SITE) { emu_wait_block(EMU_SYNC, 0, {file, line}); }
inline int __syncthreads_or(int predicate, EMU_SITE) { return emu_wait_block(EMU_OR, predicate, {file, line}); }
inline int __syncthreads_and(int predicate, EMU_SITE) { return emu_wait_block(EMU_AND, predicate, {file, line}); }
inline int __syncthreads_count(int predicate, EMU_SITE) { return emu_wait_block(EMU_COUNT, predicate, {file, line}); }

inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_SITE) {
  emu_wait_warp(EMU_WARP_SYNC, mask, 0, 0, 32, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_SITE) {
  return static_cast<unsigned>(emu_wait_warp(EMU_BALLOT, mask, predicate != 0, 0, 32, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, EMU_SITE) {
  return emu_wait_warp(EMU_BALLOT, mask, predicate != 0, 0, 32, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMU_SITE) {
  return emu_wait_warp(EMU_BALLOT, mask, predicate != 0, 0, 32, {file, line}) == mask;
}
/* Hardware may say any set of lanes that contains this one; so that nobody relies on more, only this one. */
inline unsigned __activemask() { return 1u << emu_lane(); }

template <class T>
T emu_shuffle(emu_warp_op op, unsigned mask, T value, int argument, int width, emu_site site) {
  static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "a 32- or 64-bit number");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = emu_wait_warp(op, mask, bits, argument, width, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMU_SITE) {
  return emu_shuffle(EMU_SHUFFLE, mask, value, lane, width, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_SITE) {
  return emu_shuffle(EMU_SHUFFLE_UP, mask, value, static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_SITE) {
  return emu_shuffle(EMU_SHUFFLE_DOWN, mask, value, static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMU_SITE) {
  return emu_shuffle(EMU_SHUFFLE_XOR, mask, value, lanes, width, {file, line});
}

inline void __threadfence() {}
inline void __threadfence_block() {}

/* Integer atomics; there are none for floats on purpose: their sums would depend on the order. */
#define EMU_ATOMICS(type)                                                                                    \
  inline type atomicAdd(type *at, type v) { return __atomic_fetch_add(at, v, __ATOMIC_RELAXED); }            \
  inline type atomicSub(type *at, type v) { return __atomic_fetch_sub(at, v, __ATOMIC_RELAXED); }            \
  inline type atomicAnd(type *at, type v) { return __atomic_fetch_and(at, v, __ATOMIC_RELAXED); }            \
  inline type atomicOr(type *at, type v) { return __atomic_fetch_or(at, v, __ATOMIC_RELAXED); }              \
  inline type atomicXor(type *at, type v) { return __atomic_fetch_xor(at, v, __ATOMIC_RELAXED); }            \
  inline type atomicExch(type *at, type v) { return __atomic_exchange_n(at, v, __ATOMIC_RELAXED); }          \
  inline type atomicCAS(type *at, type expected, type v) {                                                   \
    __atomic_compare_exchange_n(at, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                \
    return expected;                                                                                         \
  }                                                                                                          \
  inline type atomicMin(type *at, type v) {                                                                  \
    type old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                        \
    while (v < old && !__atomic_compare_exchange_n(at, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
    }                                                                                                        \
    return old;                                                                                              \
  }                                                                                                          \
  inline type atomicMax(type *at, type v) {                                                                  \
    type old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                        \
    while (v > old && !__atomic_compare_exchange_n(at, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
    }                                                                                                        \
    return old;                                                                                              \
  }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)
#undef EMU_ATOMICS
/* Of the signed 64-bit atomics CUDA has these two only. */
inline long long atomicMin(long long *at, long long v) {
  long long old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (v < old && !__atomic_compare_exchange_n(at, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
inline long long atomicMax(long long *at, long long v) {
  long long old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (v > old && !__atomic_compare_exchange_n(at, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

#endif
