/* What NVIDIA's own libraries do on this device: the other side of the GPU benchmarks (runtime/gpu_bench_test.go).
 * Answers requests, one per line of standard input, with the nanoseconds of each repetition by events:
 *
 *   device REPEAT                                        one line of text: name, driver, runtime, cuBLAS
 *   copy BYTES REPEAT                                    device to device: reads and writes so many bytes
 *   gemm M N K REPEAT                                    a product of matrices, strict float32
 *   gemv TYPE TRANSPOSED ROWS COLUMNS MATRICES REPEAT    y = W x, or W' x, for each of so many matrices [ROWS, COLUMNS]
 * of f32, f16 or bf16: so many that they do not fit the L2
 *
 * or with "error: " and why. What a request needs is made at the first of its kind, run once, and kept, so that the
 * sides of a benchmark can take turns. */
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(cudaError_t error, const char *call) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}
#define CHECK(call) check(call, #call)

/* Device memory that is given back at the end of the process. The values are random halves of either type and floats of
 * moderate size: bytes 3 of 4 and 1 of 2 are 0x3c or 0xbc. */
void *random_bytes(size_t bytes) {
  static std::vector<unsigned char> block;
  if (block.empty()) {
    block.resize(64 << 20);
    std::mt19937_64 random(1);
    for (size_t k = 0; k < block.size(); k += 8) {
      uint64_t v = random();
      memcpy(&block[k], &v, 8);
    }
    for (size_t k = 1; k < block.size(); k += 2) block[k] = static_cast<unsigned char>((block[k] & 0x80) | 0x3c);
  }
  char *p = nullptr;
  check(cudaMalloc(reinterpret_cast<void **>(&p), bytes), "cudaMalloc");
  for (size_t at = 0; at < bytes; at += block.size())
    CHECK(cudaMemcpy(p + at, block.data(), bytes - at < block.size() ? bytes - at : block.size(),
                     cudaMemcpyHostToDevice));
  return p;
}

/* The few functions of cuBLAS, by the names and numbers of its documentation; its headers are not needed. */
struct Blas {
  void *handle = nullptr;
  int (*gemm)(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int,
              const void *, void *, int, int, int, int) = nullptr;
  int version[3] = {0, 0, 0};

  explicit Blas(cudaStream_t stream) {
    void *library = nullptr;
    for (const char *name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"})
      if (library == nullptr) library = dlopen(name, RTLD_NOW);
    if (library == nullptr) throw std::runtime_error("no libcublas.so.13, .12 or .11");
    auto symbol = [&](const char *name, auto &to) {
      void *s = dlsym(library, name);
      if (s == nullptr) throw std::runtime_error(std::string("libcublas has no ") + name);
      memcpy(&to, &s, sizeof s);
    };
    int (*create)(void **);
    int (*set_stream)(void *, cudaStream_t);
    int (*property)(int, int *);
    symbol("cublasCreate_v2", create);
    symbol("cublasSetStream_v2", set_stream);
    symbol("cublasGetProperty", property);
    symbol("cublasGemmEx", gemm);
    succeed(create(&handle), "cublasCreate");
    succeed(set_stream(handle, stream), "cublasSetStream");
    for (int k = 0; k < 3; k++) succeed(property(k, &version[k]), "cublasGetProperty");
  }

  static void succeed(int status, const char *call) {
    if (status != 0) throw std::runtime_error(std::string(call) + " fails with status " + std::to_string(status));
  }

  /* y[n, m] = op(b)[n, k] op(a)[k, m], column-major as cuBLAS sees it; types as in cudaDataType, sums in float32. */
  void product(bool transpose_a, int m, int n, int k, const void *a, int lda, const void *b, int ldb, void *y, int ldy,
               int type) const {
    const float one = 1, zero = 0;
    const int compute_f32 = 68, default_algorithm = -1;
    succeed(gemm(handle, transpose_a ? 1 : 0, 0, m, n, k, &one, a, type, lda, b, type, ldb, &zero, y, type, ldy,
                 compute_f32, default_algorithm),
            "cublasGemmEx");
  }
};

cudaStream_t stream;
cudaEvent_t begun, ended;

const Blas &blas() {
  static const Blas b(stream);
  return b;
}

struct Task {
  std::function<void()> enqueue;
  double of = 1; /* things per run: seconds are for one */
};

Task copy_task(const std::vector<std::string> &w) {
  const size_t bytes = std::stoull(w.at(1));
  void *from = random_bytes(bytes), *to = random_bytes(bytes);
  return {[=] { CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream)); }};
}

Task gemm_task(const std::vector<std::string> &w) {
  const int m = std::stoi(w.at(1)), n = std::stoi(w.at(2)), k = std::stoi(w.at(3)), f32 = 0;
  void *a = random_bytes(size_t(4) * m * k), *b = random_bytes(size_t(4) * n * k), *y = random_bytes(size_t(4) * m * n);
  return {[=] { blas().product(true, n, m, k, b, k, a, k, y, n, f32); }};
}

Task gemv_task(const std::vector<std::string> &w) {
  static const std::map<std::string, std::pair<int, int>> types = {{"f32", {0, 4}}, {"f16", {2, 2}}, {"bf16", {14, 2}}};
  const auto [type, size] = types.at(w.at(1));
  const bool transposed = w.at(2) == "1";
  const int rows = std::stoi(w.at(3)), columns = std::stoi(w.at(4)), matrices = std::stoi(w.at(5));
  std::vector<void *> weights;
  for (int k = 0; k < matrices; k++) weights.push_back(random_bytes(size_t(size) * rows * columns));
  void *x = random_bytes(size_t(4) * (rows + columns)), *y = random_bytes(size_t(4) * (rows + columns));
  const int type_ = type, outputs = transposed ? columns : rows, inputs = transposed ? rows : columns;
  return {[=] {
            for (void *matrix : weights)
              blas().product(!transposed, outputs, 1, inputs, matrix, columns, x, inputs, y, outputs, type_);
          },
          double(matrices)};
}

void describe() {
  cudaDeviceProp device;
  int driver = 0, runtime = 0;
  CHECK(cudaGetDeviceProperties(&device, 0));
  CHECK(cudaDriverGetVersion(&driver));
  CHECK(cudaRuntimeGetVersion(&runtime));
  printf("%s, %d multiprocessors, L2 %.0f MB, %.1f GB, driver for CUDA %d.%d, runtime %d.%d, cuBLAS %d.%d.%d\n",
         device.name, device.multiProcessorCount, device.l2CacheSize / 1e6, double(device.totalGlobalMem) / 1e9,
         driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, blas().version[0], blas().version[1],
         blas().version[2]);
}

void answer(const std::string &line) {
  static std::map<std::string, Task> tasks;
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    size_t end = line.find(' ', at);
    if (end == std::string::npos) end = line.size();
    words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  if (words.size() < 2) throw std::runtime_error("a request is a name and numbers");
  if (words[0] == "device") return describe();
  const int repeat = std::stoi(words.back());
  words.pop_back();
  const std::string key = line.substr(0, line.rfind(' '));
  if (tasks.find(key) == tasks.end()) {
    static const std::map<std::string, Task (*)(const std::vector<std::string> &)> kinds = {
        {"copy", copy_task}, {"gemm", gemm_task}, {"gemv", gemv_task}};
    if (kinds.find(words[0]) == kinds.end()) throw std::runtime_error("no request is called " + words[0]);
    tasks[key] = kinds.at(words[0])(words);
    tasks[key].enqueue();
  }
  const Task &task = tasks[key];
  std::string text;
  for (int k = 0; k < repeat; k++) {
    float ms = 0;
    CHECK(cudaEventRecord(begun, stream));
    task.enqueue();
    CHECK(cudaEventRecord(ended, stream));
    CHECK(cudaEventSynchronize(ended));
    CHECK(cudaEventElapsedTime(&ms, begun, ended));
    text += (k > 0 ? " " : "") + std::to_string(1e6 * ms / task.of); /* nanoseconds, for the digits */
  }
  puts(text.c_str());
}

}  // namespace

int main() {
  try {
    CHECK(cudaSetDevice(0));
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&begun));
    CHECK(cudaEventCreate(&ended));
  } catch (const std::exception &e) {
    fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  char line[256];
  while (fgets(line, sizeof line, stdin) != nullptr) {
    line[strcspn(line, "\n")] = '\0';
    try {
      answer(line);
    } catch (const std::exception &e) {
      printf("error: %s\n", e.what());
    }
    fflush(stdout);
  }
  return 0;
}
