// y (M, N) = act(x (M, K) times packed weights + b), for M of a few tiles at most.
#pragma once

#include "ops/elementwise/finish.h"

namespace hl::cpu::HL_ISA {

// One row is best served from the weights as they are, many rows by blocks of packed x.
constexpr bool packed_pays(int64_t M) { return M > 2 && M <= 64; }

template <class T>
void packed_product(Ctx& ctx, int64_t M, int64_t N, int64_t K, const T* x, const T* panels,
                    const Finish<T>& finish, T* y, T* z);

}  // namespace hl::cpu::HL_ISA
