#include "ops/matmul/pack.h"

#include "cpu/gemm.h"
#include "kernel.h"
#include "ops/matmul/packed.h"

namespace hl::cpu::HL_ISA {

template <class T>
Plan pack_panels_plan(const PackShape& s) {
  Plan p = {};
  p.algorithm = "panels";
  p.tile[1] = kTileColumns<T>;
  p.bytes = 2.0 * double(s.groups) * double(s.lines) * double(s.depth) * sizeof(T);
  return p;
}

template <class T>
void pack_panels(Ctx& ctx, const PackShape& s, const T* w, T* panels) {
  const int64_t width = kTileColumns<T>, count = ceil_div(s.lines, width);
  const int64_t size = width * s.depth;
  parallel_for(ctx, s.groups * count, ceil_div(1 << 14, max64(1, size)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t p = begin; p < end; ++p) {
                   const int64_t line = p % count * width;
                   const T* from = w + p / count * s.lines * s.depth;
                   Strided<T>{from, s.depth, 1, false}.pack(panels + p * size, int(width), line,
                                                            int(min64(width, s.lines - line)), 0,
                                                            s.depth);
                 }
               });
}

// A panel passes by once for each tile of rows; x, a few rows, stays in the caches.
template <class T>
void packed_product(Ctx& ctx, int64_t M, int64_t N, int64_t K, const T* x, const T* panels,
                    const Finish<T>& finish, T* y, T* z) {
  const int64_t width = kTileColumns<T>, mr = even_part(M, kTileRows, 1);
  Finish<T> rest = finish;  // the sums start from the bias
  rest.b = nullptr;
  parallel_for(
      ctx, ceil_div(N, width), ceil_div(1 << 18, max64(1, M * width * K)),
      [&](int64_t begin, int64_t end, int) {
        for (int64_t p = begin; p < end; ++p) {
          const int64_t column = p * width, n = min64(width, N - column);
          for (int64_t m = 0; m < M; m += mr) {
            Tile<T> t = {
                K, x + m * K, K,    1,   panels + p * width * K, width, y + m * N + column, N,
                1, n,         T(1), T(0)};
            if (finish.b) t.start = finish.b + column;
            tile<T>(min64(mr, M - m), ceil_div(n, kLanes<T>))(t);
          }
          if (rest.needed()) {
            rest.lines(y + column, z ? z + column : nullptr, N, M, nullptr, n);
          }
        }
      });
}

HL_DEFINE_KERNEL(pack_panels);

#define HL_INSTANTIATE(T)                                                              \
  template void packed_product<T>(Ctx&, int64_t, int64_t, int64_t, const T*, const T*, \
                                  const Finish<T>&, T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
