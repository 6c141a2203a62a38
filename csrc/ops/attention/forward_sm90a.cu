// Attention forward by TMA and wgmma on compute capability 9.0, after Shah et al., "FlashAttention-3"
// (2024).
//
// A block owns 128 queries of a head: two warpgroups of 64 rows, and a third of which one thread asks for
// tiles of 128 keys and of their values, two of each ahead. Scores of a tile are a product of queries and
// keys in shared memory; probabilities go as factors from the registers that hold them. The products of
// the next scores are started before those of this tile's values, so that softmax of the next tile runs
// beside the latter; and while one warpgroup is in softmax, the other's products run.
#include "cuda/gemm_sm90a.h"
#include "cuda/kernel.h"
#include "ops/attention/flash_call.cuh"

namespace hl::cuda {
namespace {

template <int kWidth>
struct ForwardRoom {
  static constexpr int kOwn = 128, kKeys = 128, kStages = 2;
  static constexpr int kBlocks = kWidth / kTmaColumns;  // of 64 numbers, a row of each is 128 bytes
  static constexpr int kTile = kKeys * kTmaColumns, kBytes = kBlocks * kTile * 2;
  static constexpr int kConsumers = 2, kThreads = (kConsumers + 1) * kWarpgroup;
  static_assert(kOwn == kKeys && kConsumers * 64 == kOwn && kFlashPad % kKeys == 0);

  uint16_t q[kBlocks][kTile], k[kStages][kBlocks][kTile], v[kStages][kBlocks][kTile];
  Mbarrier q_full, k_full[kStages], v_full[kStages], k_empty[kStages], v_empty[kStages];

  __device__ void init() {
    mbarrier_init(&q_full, 1);
    for (int s = 0; s < kStages; ++s) {
      mbarrier_init(&k_full[s], 1);
      mbarrier_init(&v_full[s], 1);
      mbarrier_init(&k_empty[s], kConsumers);
      mbarrier_init(&v_empty[s], kConsumers);
    }
    fence_barrier_init();
  }
  static __device__ void load(uint16_t (&to)[kBlocks][kTile], const TensorMap& map, Mbarrier* full,
                              int64_t row) {
    mbarrier_arrive_expect(full, kBytes);
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) tma_load(to[b], map, full, b * kTmaColumns, int(row));
  }
};

// x = 64 rows of q from `first` on by the rows of k. Started, not waited for.
template <class Type, int kBlocks, int kTile, int kGroups>
__device__ __forceinline__ void start_dots(const uint16_t (&q)[kBlocks][kTile], int first,
                                           const uint16_t (&k)[kBlocks][kTile],
                                           float (&x)[kGroups][4]) {
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
    for (int d = 0; d < kTmaColumns; d += 16) {
      wgmma<Type>(x, factor_along(q[b] + first * kTmaColumns, d), factor_along(k[b], d), b + d > 0);
    }
  }
  wgmma_commit();
}

// sum += p by the rows of v, in the same way.
template <class Type, int kBlocks, int kTile, int kSteps, int kGroups>
__device__ __forceinline__ void start_add(const uint32_t (&p)[kSteps][4],
                                          const uint16_t (&v)[kBlocks][kTile],
                                          float (&sum)[kGroups][4]) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    wgmma<Type, true>(sum, p[k], factor_across(v[0], 16 * k, int(sizeof v[0])), true);
  }
  wgmma_commit();
}

// A thread's two rows of softmax: the largest score so far, before it is scaled, and the sum of powers.
struct SoftmaxRows {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};

  // Scores to powers of 2; what there was before is to be multiplied by `rescale`.
  template <int kGroups>
  __device__ __forceinline__ void take(float (&x)[kGroups][4], float scale, float (&rescale)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float now = top[r], sum = 0;
#pragma unroll
      for (int b = 0; b < kGroups; ++b) now = fmaxf(now, fmaxf(x[b][2 * r], x[b][2 * r + 1]));
      now = quad_reduce(now, [](float p, float q) { return fmaxf(p, q); });
      const float base = now == -INFINITY ? 0.0f : now * scale;  // nothing seen so far
      rescale[r] = fast_exp2(top[r] * scale - base);
#pragma unroll
      for (int b = 0; b < kGroups; ++b) {
#pragma unroll
        for (int e = 2 * r; e < 2 * r + 2; ++e) {
          x[b][e] = fast_exp2(x[b][e] * scale - base);
          sum += x[b][e];
        }
      }
      total[r] = total[r] * rescale[r] + sum;  // of this lane's columns
      top[r] = now;
    }
  }
};

template <class Type, int kWidth>
__global__ void __launch_bounds__(ForwardRoom<kWidth>::kThreads, 1)
    attend_sm90a_kernel(const __grid_constant__ FlashCall c,
                        const __grid_constant__ TensorMap q_map,
                        const __grid_constant__ TensorMap k_map,
                        const __grid_constant__ TensorMap v_map, int tiles, float* y, float* lse) {
  using Room = ForwardRoom<kWidth>;
  constexpr int kKeys = Room::kKeys;
  HL_SHARED_TILES(Room, room);
  if (threadIdx.x == 0) room->init();
  __syncthreads();

  const AttentionShape& s = c.s;
  // Under a causal mask the last queries have most to do: they begin.
  const int64_t task = blockIdx.x, head = task / tiles, n = head / s.H, h = head % s.H;
  const int i0 = int(tiles - 1 - task % tiles) * Room::kOwn;
  const Sight sight(c, n);
  const Steps keys = sight.keys_of(i0, Room::kOwn, int(s.Tq), kKeys);

  RingPlace<Room::kStages> at;
  if (threadIdx.x >= Room::kConsumers * kWarpgroup) {
    setmaxnreg_dec<24>();
    if (threadIdx.x != Room::kConsumers * kWarpgroup || keys.begin >= keys.end) return;
    const int64_t kv = (n * s.Hk + h / (s.H / s.Hk)) * c.k_rows;
    Room::load(room->q, q_map, &room->q_full, head * c.q_rows + i0);
    for (int j0 = keys.begin; j0 < keys.end; j0 += kKeys, at.next()) {
      mbarrier_wait(&room->k_empty[at.stage], at.parity ^ 1);
      Room::load(room->k[at.stage], k_map, &room->k_full[at.stage], kv + j0);
      mbarrier_wait(&room->v_empty[at.stage], at.parity ^ 1);
      Room::load(room->v[at.stage], v_map, &room->v_full[at.stage], kv + j0);
    }
    return;
  }

  setmaxnreg_inc<240>();
  const int thread = int(threadIdx.x) % kWarpgroup, first = int(threadIdx.x) / kWarpgroup * 64;
  const int i = i0 + flash_row<1>();  // and i + 8
  const float scale = float(s.scale) * kLog2E;
  float x[kKeys / 8][4], out[1][kWidth / 8][4] = {}, rescale[2];
  uint32_t p[kKeys / 16][4];
  SoftmaxRows rows;
  const auto release = [&](Mbarrier* empty) {
    if (thread == 0) mbarrier_arrive(empty);
  };
  const auto softmax = [&](int j0) {
    if (!sight.sees_all(i0 + first, 64, j0, kKeys)) {
      const int low = anew(lane()) % 4 * 2 + j0;
#pragma unroll
      for (int b = 0; b < kKeys / 8; ++b) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (!sight.sees(i + e / 2 * 8, low + 8 * b + e % 2)) x[b][e] = -INFINITY;
        }
      }
    }
    rows.take(x, scale, rescale);
  };
  const auto pack = [&] {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int e = 0; e < 4; ++e) p[k][e] = Words<Type>::make(&x[2 * k + e / 2][e % 2 * 2]);
    }
  };

  if (keys.begin < keys.end) {
    mbarrier_wait(&room->q_full, 0);
    mbarrier_wait(&room->k_full[0], 0);
    wgmma_fence();
    start_dots<Type>(room->q, first, room->k[0], x);
    wgmma_wait<0>(x);
    release(&room->k_empty[0]);
    softmax(keys.begin);
    pack();
    for (int j0 = keys.begin + kKeys; j0 < keys.end; j0 += kKeys) {
      const RingPlace<Room::kStages> last = at;
      at.next();
      mbarrier_wait(&room->k_full[at.stage], at.parity);
      mbarrier_wait(&room->v_full[last.stage], last.parity);
      wgmma_fence(out[0]);
      start_dots<Type>(room->q, first, room->k[at.stage], x);
      start_add<Type>(p, room->v[last.stage], out[0]);
      wgmma_wait<1>(x);
      release(&room->k_empty[at.stage]);
      softmax(j0);
      computed(rows.total[0] + rows.total[1]);
      wgmma_wait<0>(out[0]);
      release(&room->v_empty[last.stage]);
#pragma unroll
      for (int d = 0; d < kWidth / 8; ++d) {
#pragma unroll
        for (int e = 0; e < 4; ++e) out[0][d][e] *= rescale[e / 2];
      }
      pack();
    }
    mbarrier_wait(&room->v_full[at.stage], at.parity);
    wgmma_fence(out[0]);
    start_add<Type>(p, room->v[at.stage], out[0]);
    wgmma_wait<0>(out[0]);
  }

  float factor[1][2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = quad_reduce(rows.total[r], Plus());
    const bool dead = sum == 0;  // nothing seen; else the largest alone is 1
    factor[0][r] = dead ? 0.0f : 1 / sum;
    if (i + 8 * r < s.Tq && lane() % 4 == 0) {
      lse[head * s.Tq + i + 8 * r] = dead ? -INFINITY : (rows.top[r] * scale + log2f(sum)) * kLn2;
    }
  }
  flash_store(out, factor, s.Tq - i0, int(s.Dv), s.H * s.Dv,
              y + ((n * s.Tq + i0) * s.H + h) * s.Dv);
}

// Products of a warpgroup have 64 rows: where a block's second one would have none, mma has less to do.
bool takes(const Ctx& ctx, const AttentionShape& s) {
  const int64_t widest = s.D > s.Dv ? s.D : s.Dv, kv = s.N * s.Hk, q = s.N * s.H;
  return flash_takes(ctx, s) && ctx.precision != Precision::kTf32 && is_sm90(card()) &&
         widest > 32 && !s.terms && s.threshold == 0 && s.scale > 0 && s.Tq > 64 &&
         q * flash_rows(s.Tq) < INT32_MAX && kv * flash_rows(s.Tk) < INT32_MAX;
}

const Entry<attention_forward_t<float>>* below() {
  return static_cast<const Entry<attention_forward_t<float>>*>(
      entry_below_sm90a("attention_forward", 1u));
}

template <class T>
Plan attention_forward_plan(const AttentionShape& s) {
  return below()->plan(s);
}

template <class T>
void attention_forward(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* v,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* y, T* lse) {
  if (!takes(ctx, s)) {
    return below()->run(ctx, s, q, k, v, lengths, starts, mask, bias, slopes, y, lse);
  }
  const auto run = [&](auto kind) {
    using Kind = decltype(kind);
    using Room = ForwardRoom<Kind::kWidth>;
    const FlashInputs<typename Kind::Type, Kind::kWidth> x(
        ctx, s, {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}, q, k, v, nullptr);
    if (!x.there()) return;
    const FlashCall call = x.call();
    const auto matrix = [&](const uint32_t* at, int64_t heads, int64_t rows) {
      return TmaMatrix{at, s.N * heads * rows, Kind::kWidth, Kind::kWidth};
    };
    TensorMap q_map, k_map, v_map;
    if (!make_tensor_map(&q_map, matrix(call.q, s.H, call.q_rows), Room::kOwn) ||
        !make_tensor_map(&k_map, matrix(call.k, s.Hk, call.k_rows), Room::kKeys) ||
        !make_tensor_map(&v_map, matrix(call.v, s.Hk, call.k_rows), Room::kKeys)) {
      return;
    }
    const int tiles = int(ceil_div(s.Tq, int64_t(Room::kOwn)));
    HL_LAUNCH((attend_sm90a_kernel<typename Kind::Type, Kind::kWidth>), unsigned(s.N * s.H * tiles),
              Room::kThreads, int(sizeof(Room)), ctx.stream, call, q_map, k_map, v_map, tiles, y,
              lse);
  };
  const bool wide = s.D > 64 || s.Dv > 64;
  if (ctx.precision == Precision::kBf16) {
    wide ? run(FlashKind<Bf16, 128, false>()) : run(FlashKind<Bf16, 64, false>());
  } else {
    wide ? run(FlashKind<F16, 128, false>()) : run(FlashKind<F16, 64, false>());
  }
}

HL_CUDA_SM90A_KERNEL(attention_forward);

}  // namespace
}  // namespace hl::cuda
