// Runs each wrapper of csrc/cuda by itself and prints what came of it, on a card or in the emulator:
// bench/gpu_check.py compares the two prints. Results that are known are checked here, too.
//
//   gpu_wrappers            all of them that the card has
//   gpu_wrappers NAME       in the emulator, a pipeline with that mistake: it must not go unseen
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "cuda/mma_tile.h"
#if defined(HL_EMULATOR) || defined(HL_SM90A)
#include "cuda/tma.h"
#endif

namespace hl::cuda {

void note_failure(cudaError_t error, const char* what, const char* file, int line) {
  printf("failed %s: %d (%s:%d)\n", what, int(error), file, line);
  exit(2);
}

namespace {

bool g_wrong = false;

// Device memory with a copy on the host.
template <class T>
struct Array {
  std::vector<T> host;
  T* device = nullptr;

  explicit Array(size_t count) : host(count) { allocate(); }
  explicit Array(std::vector<T> v) : host(std::move(v)) { allocate(); }
  Array(const Array&) = delete;
  ~Array() { HL_CHECK(cudaFreeAsync(device, nullptr)); }

  const std::vector<T>& back() {
    HL_CHECK(cudaMemcpyAsync(host.data(), device, bytes(), cudaMemcpyDeviceToHost, nullptr));
    HL_CHECK(cudaDeviceSynchronize());
    return host;
  }

 private:
  size_t bytes() const { return host.size() * sizeof(T); }
  void allocate() {
    HL_CHECK(cudaMallocAsync(reinterpret_cast<void**>(&device), bytes(), nullptr));
    HL_CHECK(cudaMemcpyAsync(device, host.data(), bytes(), cudaMemcpyHostToDevice, nullptr));
  }
};

// A line of the print: eight numbers' bits together make a word of it.
template <class T>
void print(const char* name, const std::vector<T>& values) {
  static_assert(sizeof(T) == 4);
  printf("%s:", name);
  uint64_t hash = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    hash = (hash ^ bits) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 29;
    if (i % 8 == 7 || i + 1 == values.size()) printf(" %08x", unsigned(hash >> 32));
  }
  printf("\n");
}

void check(const char* name, const std::vector<float>& got, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (got[i] == expected[i]) continue;
    printf("WRONG %s: number %zu is %g, not %g\n", name, i, double(got[i]), double(expected[i]));
    g_wrong = true;
    return;
  }
}

// Whole numbers from -8 to 7, that any type holds and any sum of which is exact.
__host__ __device__ float pattern(int seed, int i, int j) {
  const uint32_t v = uint32_t(seed * 7919 + i * 613 + j * 17) * 2654435761u;
  return float(int(v >> 28) - 8);
}

// ---- of any card, and of 8.0 on ------------------------------------------------------------------------
__global__ void shuffles(uint32_t* out) {
  const int t = int(threadIdx.x);
  const float v = pattern(1, t, 0);
  out[t] = uint32_t(int(shuffle_xor(v, 5)));
  out[64 + t] = uint32_t(int(shuffle_up(v, 3)));
  out[128 + t] = uint32_t(int(shuffle_from(v, 7)));
  out[192 + t] = ballot(v > 0);
  out[256 + t] = mul_high(uint32_t(t) * 0x9E3779B9u, 0x85EBCA6Bu);
  out[320 + t] = uint32_t(mul_high(uint64_t(t) << 40 | 12345, uint64_t(0x9E3779B97F4A7C15ull)));
}

__global__ void roundings(const float* v, uint32_t* out) {
  const int t = int(threadIdx.x), n = int(blockDim.x);
  const float x = v[t], y = v[(t + 1) % n];
  out[t] = uint32_t(to_bf16(x).bits) | uint32_t(to_f16(x).bits) << 16;
  out[n + t] = to_tf32(x).bits;
  out[2 * n + t] = pack_bf16(x, y);
  out[3 * n + t] = pack_f16(x, y);
}

__global__ void async_copies(const uint32_t* from, uint32_t* out) {
  HL_SHARED(uint32_t, room);
  const int t = int(threadIdx.x);
  cp_async16(room + 4 * t, from + 4 * t, t % 17);
  cp_async_commit();
  cp_async16(room + 128 + 4 * t, from + 4 * t);
  cp_async_commit();
  cp_async_wait<1>();
  for (int e = 0; e < 4; ++e) out[4 * t + e] = room[4 * t + e];
  cp_async_wait<0>();
  for (int e = 0; e < 4; ++e) out[128 + 4 * t + e] = room[128 + 4 * t + e];
}

__global__ void fragments(uint32_t* out) {
  HL_SHARED(uint32_t, room);
  const int t = int(threadIdx.x);
  for (int e = 0; e < 4; ++e) room[4 * t + e] = uint32_t(4 * t + e) * 0x10001u + 0x80000000u;
  __syncthreads();
  uint32_t plain[4], turned[4];
  ldmatrix_x4(plain, room + 4 * (31 - t));
  ldmatrix_x4_trans(turned, room + 4 * t);
  for (int e = 0; e < 4; ++e) out[4 * t + e] = plain[e], out[128 + 4 * t + e] = turned[e];
}

// D (16 x 8) = A B + 1, k of 16 or, in TF32, 8.
template <class Type>
__global__ void small_products(float* out) {
  constexpr int kEach = Words<Type>::kEach;
  const int g = lane() / 4, t = lane() % 4;
  const auto word = [&](int seed, int row, int w) {
    float v[2];
    for (int e = 0; e < kEach; ++e) v[e] = pattern(seed, row, w * kEach + e);
    return Words<Type>::make(v);
  };
  const uint32_t a[4] = {word(2, g, t), word(2, g + 8, t), word(2, g, t + 4),
                         word(2, g + 8, t + 4)};
  const uint32_t b[2] = {word(3, g, t), word(3, g, t + 4)};
  float d[4] = {1, 1, 1, 1};
  Words<Type>::mma(d, a, b);
  for (int e = 0; e < 4; ++e) out[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = d[e];
}

std::vector<float> product(int rows, int columns, int depth, float start) {
  std::vector<float> c;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      float sum = start;
      for (int k = 0; k < depth; ++k) sum += pattern(2, i, k) * pattern(3, j, k);
      c.push_back(sum);
    }
  }
  return c;
}

template <class Type>
void run_small_product(const char* name) {
  Array<float> out(128);
  auto* const to_out = out.device;
  HL_LAUNCH((small_products<Type>), 1, 32, 0, nullptr, to_out);
  print(name, out.back());
  check(name, out.host, product(16, 8, 8 * Words<Type>::kEach, 1));
}

void run_sm80() {
  Array<uint32_t> words(384);
  auto* const to_words = words.device;
  HL_LAUNCH(shuffles, 1, 64, 0, nullptr, to_words);
  print("shuffles", words.back());

  std::vector<float> numbers;
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t bits =
        i < 8 ? 0x7f800000u + (i << 20) : (i * 0x9E3779B9u) ^ (i % 3 ? 0 : 0x1000);
    float v;
    memcpy(&v, &bits, sizeof v);
    numbers.push_back(i % 5 == 0 ? float(int(bits >> 12)) * 0x1p-4f : v);
  }
  Array<float> in(numbers);
  Array<uint32_t> rounded(1024);
  auto* const to_in = in.device;
  auto* const to_rounded = rounded.device;
  HL_LAUNCH(roundings, 1, 256, 0, nullptr, to_in, to_rounded);
  print("roundings", rounded.back());

  std::vector<uint32_t> source;
  for (uint32_t i = 0; i < 128; ++i) source.push_back(i * 0x9E3779B9u);
  Array<uint32_t> from(source), copied(256);
  auto* const to_from = from.device;
  auto* const to_copied = copied.device;
  HL_LAUNCH(async_copies, 1, 32, 1024, nullptr, to_from, to_copied);
  print("async copies", copied.back());

  Array<uint32_t> read(256);
  auto* const to_read = read.device;
  HL_LAUNCH(fragments, 1, 32, 512, nullptr, to_read);
  print("ldmatrix", read.back());

  run_small_product<Bf16>("mma bfloat16");
  run_small_product<F16>("mma float16");
  run_small_product<Tf32>("mma tfloat32");
}

#if defined(HL_EMULATOR) || defined(HL_SM90A)
#include "gpu_wrappers_sm90a.h"
#endif

}  // namespace
}  // namespace hl::cuda

int main(int argc, char** argv) {
  using namespace hl::cuda;
#if defined(HL_EMULATOR)
  if (argc > 1) return run_mistake(argv[1]);
#endif
  (void)argc, (void)argv;
  run_sm80();
#if defined(HL_EMULATOR) || defined(HL_SM90A)
  run_sm90a();
#endif
  return g_wrong ? 1 : 0;
}
