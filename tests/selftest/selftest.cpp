// Every instruction set against plain loops, without Python: what runs under an emulator.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels.h"

namespace {

using namespace hl;

int failures = 0, checks = 0;

void expect(bool ok, const std::string& what) {
  ++checks;
  if (!ok) {
    ++failures;
    std::printf("FAILED %s\n", what.c_str());
  }
}

template <class T>
struct Numbers {
  uint64_t state = 42;
  T operator()() {  // xorshift, in [-1, 1)
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return T(double(int64_t(state >> 11)) * 0x1p-52 - 1.0);
  }
  std::vector<T> many(int64_t n) {
    std::vector<T> v(static_cast<size_t>(n));
    for (T& x : v) x = (*this)();
    return v;
  }
};

template <class S, class... P, class... Args>
void call(const Entry<void(Ctx&, const S&, P...)>* kernel, const S& shape, Args... args) {
  Ctx ctx;
  const Plan plan = kernel->plan(shape);
  if (!scratch_reserve(ctx, plan.shared_bytes, plan.worker_bytes)) std::abort();
  kernel->run(ctx, shape, args...);
}

template <class T>
void check_matmul(const Backend& backend, const OpTable<T>& ops) {
  const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 17, 33, 70};
  Numbers<T> numbers;
  for (int64_t M : sizes) {
    for (int64_t N : sizes) {
      for (int64_t K : sizes) {
        for (int layout = 0; layout < 4; ++layout) {
          const bool at = layout & 1, bt = layout & 2;
          const auto a = numbers.many(M * K), b = numbers.many(K * N);
          std::vector<T> c(size_t(M * N), T(NAN));
          MatmulShape s = {};
          s.M = M, s.N = N, s.K = K;
          s.a_rs = at ? 1 : K, s.a_cs = at ? M : 1;
          s.b_rs = bt ? 1 : N, s.b_cs = bt ? K : 1;
          s.c_rs = N, s.c_cs = 1, s.alpha = 1;
          call(ops.matmul, s, a.data(), b.data(), c.data());
          double worst = 0;
          for (int64_t i = 0; i < M; ++i) {
            for (int64_t j = 0; j < N; ++j) {
              double sum = 0, size = 0;
              for (int64_t k = 0; k < K; ++k) {
                const double term = double(a[size_t(i * s.a_rs + k * s.a_cs)]) *
                                    double(b[size_t(k * s.b_rs + j * s.b_cs)]);
                sum += term, size += std::fabs(term);
              }
              const double eps = sizeof(T) == 4 ? 0x1p-23 : 0x1p-52;
              const double error = std::fabs(double(c[size_t(i * N + j)]) - sum) / (8 * eps * size);
              worst = std::isnan(error) ? INFINITY : std::fmax(worst, error);
            }
          }
          expect(worst <= 1, std::string(backend.name) + " matmul " + std::to_string(M) + "x" +
                                 std::to_string(K) + "x" + std::to_string(N));
        }
      }
    }
  }
}

}  // namespace

int main() {
  const Backend* list[8];
  const int n = available_backends(list, 8);
  for (int i = 0; i < n; ++i) {
    check_matmul(*list[i], *list[i]->f32);
    check_matmul(*list[i], *list[i]->f64);
    std::printf("%s: checked\n", list[i]->name);
  }
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
