/* The index arithmetic of native/cuda/strided.cuh against plain divisions, up to sizes whose tensors fit no test. */
#include "strided.cuh"

#include "check.h"

namespace {

uint64_t state = 1;

int64_t random_below(int64_t n) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return static_cast<int64_t>((z ^ z >> 31) % static_cast<uint64_t>(n));
}

/* Places of the first, the last and some indices between. */
void check_places(const cu_nest<2> &nest, int64_t total) {
  for (int k = 0; k < 200; k++) {
    const int64_t index = k < 2 ? k * (total - 1) : random_below(total);
    int64_t want[2] = {0, 0}, got[2], rest = index;
    for (int32_t a = 0; a < nest.axes; a++) {
      for (int j = 0; j < 2; j++) want[j] += rest % nest.dim[a] * nest.step[j][a];
      rest /= nest.dim[a];
    }
    cu_place(nest, index, got);
    CHECK(got[0] == want[0] && got[1] == want[1]);
  }
}

/* most: of the number of indices; whether that is less than 2^31 decides how they are divided. */
void test_places(int64_t most) {
  for (int round = 0; round < 2000; round++) {
    cu_nest<2> nest = {};
    int64_t room = most;
    const int64_t axes = 1 + random_below(CREDENCE_MAX_DIMS);
    for (int64_t a = 0; a < axes; a++) {
      const int64_t dim = 1 + random_below(round % 3 == 0 ? room : cu_least(room, 50));
      cu_nest_add(&nest, dim, {random_below(200) - 100, random_below(64)});
      room /= dim;
    }
    const int64_t total = cu_nest_close(&nest);
    CHECK(nest.wide == (total >= int64_t{1} << 31));
    check_places(nest, total);
  }
}

/* All divisors near powers of two, with the greatest indices. */
void test_divisors() {
  for (int32_t bit = 1; bit < 31; bit++)
    for (int64_t d = (int64_t{1} << bit) - 3; d <= (int64_t{1} << bit) + 3; d++) {
      if (d < 1) continue;
      cu_nest<2> nest = {};
      nest.axes = 2;
      nest.dim[0] = d;
      nest.dim[1] = INT32_MAX / d;
      nest.step[0][0] = nest.step[1][1] = 1;
      check_places(nest, cu_nest_close(&nest));
    }
}

/* A view [4, 6, 8] of dense rows is one axis; with gaps or an order of its own it is not. */
void test_merging() {
  cr_tensor dense = {nullptr, CREDENCE_F32, 3, {4, 6, 8}, {192, 32, 4}}, gap = dense, turned = dense, once = dense;
  gap.stride[0] = 256;
  turned.stride[0] = 4, turned.stride[1] = 16, turned.stride[2] = 96;
  once.stride[0] = once.stride[1] = once.stride[2] = 0;
  cu_nest<2> nest;
  CHECK(cu_nest_make(&nest, {&dense, &dense}) == 192 && nest.axes == 1 && nest.step[0][0] == 4);
  CHECK(cu_nest_make(&nest, {&dense, &once}) == 192 && nest.axes == 1 && nest.step[1][0] == 0);
  CHECK(cu_nest_make(&nest, {&dense, &gap}) == 192 && nest.axes == 2 && nest.dim[0] == 48);
  CHECK(cu_nest_make(&nest, {&turned, &turned}) == 192 && nest.axes == 1 && nest.step[1][0] == 4);
  CHECK(cu_nest_make(&nest, {&dense, &turned}) == 192 && nest.axes == 3 && cu_turned_axis(nest, 1, 4) == 0);
  dense.dim[1] = 0;
  CHECK(cu_nest_make(&nest, {&dense, &dense}) == 0);
  dense.ndim = 0;
  CHECK(cu_nest_make(&nest, {&dense, &dense}) == 1 && nest.axes == 1);
}

}  // namespace

int main() {
  test_places(INT32_MAX);
  test_places(int64_t{1} << 45);
  test_divisors();
  test_merging();
  return report("emulator: strides");
}
