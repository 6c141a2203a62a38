// C = A B^T of 16-bit matrices by TMA and wgmma, for any use of C.
//
// A block is three warpgroups and stays on its multiprocessor for as many tiles of C as fall to it. One
// thread of the first asks for boxes of A and B, as far ahead as there are stages free; the other two
// multiply 64 rows of the tile each. A stage's barrier `full` counts bytes, `empty` the two who read it.
// Since the first warpgroup does not know of C, it is at the next tile's boxes while this one is stored.
// Products of one step run while the next step's are started: a stage is given back one step later.
//
// Sums run in the order of k whatever the tile is.
#pragma once

#include "cuda/mma_tile.h"
#include "cuda/operands.h"
#include "cuda/tma.h"

namespace hl::cuda {

// A warp's sums on their way out: 32 columns at a time of its 16 rows. Rows lie 40 apart, so that the
// pairs of four of them, which half a warp writes at once, fall into different banks.
struct WarpSums {
  static constexpr int kColumns = 32, kLine = 40;
  float at[16][kLine];

  // use(row, column, first, second) for pairs of neighbours, neighbouring lanes at neighbouring pairs;
  // row 0 is the warp's first. A loop of one copy, for `use` may be long: which accumulators a round
  // takes is asked of each, since registers have no index.
  template <int kGroups, class Use>
  __device__ __forceinline__ void each(const float (&sum)[kGroups][4], Use use) {
    constexpr int kRounds = kGroups * 8 / kColumns;
#pragma unroll 1
    for (int round = 0; round < kRounds; ++round) {
      sync_warp();
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        if (j / 4 != round) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float* const to = &at[lane() / 4 + 8 * half][j % 4 * 8 + lane() % 4 * 2];
          *reinterpret_cast<Pair*>(to) = {sum[j][2 * half], sum[j][2 * half + 1]};
        }
      }
      sync_warp();
#pragma unroll 1
      for (int e = lane(); e < 16 * kColumns / 2; e += kWarp) {
        const int row = e / (kColumns / 2), column = e % (kColumns / 2) * 2;
        use(row, round * kColumns + column, at[row][column], at[row][column + 1]);
      }
    }
  }
};

template <int columns>
struct WideTile {
  static constexpr int kRows = 128, kColumns = columns, kDepth = kTmaColumns;
  static constexpr int kStages = 1536 / (kRows + kColumns);  // 192 KiB of 227
  static constexpr int kStageBytes = (kRows + kColumns) * kDepth * 2;
  static constexpr int kConsumers = kRows / 64, kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
  static_assert((kProducerRegisters + kConsumers * kConsumerRegisters) * kWarpgroup <= 65536);

  struct Room {
    uint16_t a[kStages][kRows * kDepth];
    uint16_t b[kStages][kColumns * kDepth];
    Mbarrier full[kStages], empty[kStages];
    WarpSums sums[kConsumers * 4];
  };
};

// Where a thread is in the ring of stages, and the parity of that stage's phase.
template <int kStages>
struct RingPlace {
  int stage = 0, parity = 0;

  __device__ __forceinline__ void next() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

struct WideGrid {
  GemmGrid g;
  unsigned tiles;            // of all batches
  int64_t a_batch, b_batch;  // rows from one batch to the next in the matrices that TMA sees
};

// Neighbours in a row at once, where a use of C can.
template <class Store>
__device__ __forceinline__ void store_two(const Store& store, int64_t i, int64_t j, int64_t N,
                                          float first, float second) {
  if constexpr (requires { store.two(i, j, first, second); }) {
    if (j + 1 < N) return store.two(i, j, first, second);
  } else {
    if (j + 1 < N) store(i, j + 1, second);
  }
  if (j < N) store(i, j, first);
}

template <class Type, int kColumns, class Store>
__global__ void __launch_bounds__(WideTile<kColumns>::kThreads, 1)
    gemm_sm90a_kernel(const __grid_constant__ TensorMap a_map,
                      const __grid_constant__ TensorMap b_map, const WideGrid all,
                      const __grid_constant__ Store store_all) {
  using Tile = WideTile<kColumns>;
  HL_SHARED_TILES(typename Tile::Room, room);
  const GemmGrid& g = all.g;
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(&room->full[s], 1);
      mbarrier_init(&room->empty[s], Tile::kConsumers);
    }
    fence_barrier_init();
  }
  __syncthreads();

  RingPlace<Tile::kStages> at;
  if (threadIdx.x < kWarpgroup) {
    setmaxnreg_dec<Tile::kProducerRegisters>();
    if (threadIdx.x != 0) return;
    tma_prefetch(a_map);
    tma_prefetch(b_map);
    for (unsigned number = blockIdx.x; number < all.tiles; number += gridDim.x) {
      const GemmTile tile = gemm_tile(g, number);
      const int i0 = int(tile.batch * all.a_batch) + int(tile.i) * Tile::kRows;
      const int j0 = int(tile.batch * all.b_batch) + int(tile.j) * kColumns;
      for (int step = 0; step < g.steps; ++step, at.next()) {
        mbarrier_wait(&room->empty[at.stage], at.parity ^ 1);
        Mbarrier* const full = &room->full[at.stage];
        mbarrier_arrive_expect(full, Tile::kStageBytes);
        tma_load(room->a[at.stage], a_map, full, step * Tile::kDepth, i0);
        tma_load(room->b[at.stage], b_map, full, step * Tile::kDepth, j0);
      }
    }
    return;
  }

  setmaxnreg_inc<Tile::kConsumerRegisters>();
  const int consumer = int(threadIdx.x) / kWarpgroup - 1, thread = int(threadIdx.x) % kWarpgroup;
  float sum[kColumns / 8][4] = {};
  for (unsigned number = blockIdx.x; number < all.tiles; number += gridDim.x) {
    int before = 0;  // the stage of the step before
    for (int step = 0; step < g.steps; ++step, at.next()) {
      mbarrier_wait(&room->full[at.stage], at.parity);
      const uint16_t* const a = room->a[at.stage] + consumer * 64 * Tile::kDepth;
      const uint16_t* const b = room->b[at.stage];
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < Tile::kDepth; k += 16) {
        wgmma<Type>(sum, factor_along(a, k), factor_along(b, k), step > 0 || k > 0);
      }
      wgmma_commit();
      if (step > 0) {
        wgmma_wait<1>();
        if (thread == 0) mbarrier_arrive(&room->empty[before]);
      }
      before = at.stage;
    }
    wgmma_wait<0>(sum);
    if (thread == 0) mbarrier_arrive(&room->empty[before]);

    const GemmTile tile = gemm_tile(g, number);
    const auto store = of_batch(store_all, tile.batch);
    const int64_t i0 = int64_t(tile.i) * Tile::kRows + consumer * 64 + thread / kWarp * 16;
    const int64_t j0 = int64_t(tile.j) * kColumns;
    room->sums[consumer * 4 + thread / kWarp].each(
        sum, [&](int i, int j, float first, float second) {
          if (i0 + i < g.M) store_two(store, i0 + i, j0 + j, g.N, first, second);
        });
  }
}

template <class Type, int kColumns, class Store>
void launch_sm90a(void* stream, int64_t batches, int64_t M, int64_t N, int64_t K,
                  const TmaMatrix& a, int64_t a_batch, const TmaMatrix& b, int64_t b_batch,
                  Store store, int multiprocessors) {
  using Tile = WideTile<kColumns>;
  TensorMap a_map, b_map;
  if (!make_tensor_map(&a_map, a, Tile::kRows) || !make_tensor_map(&b_map, b, kColumns)) return;
  WideGrid all = {};
  all.g.M = M, all.g.N = N, all.g.K = K;
  all.g.rows = unsigned(ceil_div(M, int64_t(Tile::kRows)));
  all.g.cols = unsigned(ceil_div(N, int64_t(kColumns)));
  all.g.steps = int(ceil_div(K, int64_t(Tile::kDepth)));
  all.tiles = unsigned(batches) * all.g.rows * all.g.cols;
  all.a_batch = a_batch, all.b_batch = b_batch;
  const unsigned most = unsigned(multiprocessors);
  HL_LAUNCH((gemm_sm90a_kernel<Type, kColumns, Store>), all.tiles < most ? all.tiles : most,
            Tile::kThreads, int(sizeof(typename Tile::Room)), stream, a_map, b_map, all, store);
}

// `batches` products; batch n of a has its rows from n a_batch on, b likewise. The matrices are such as
// tma_takes(). Wide tiles read less for each product, where there are tiles for all multiprocessors.
template <class Type, class Store>
void gemm_sm90a(void* stream, int64_t batches, int64_t M, int64_t N, int64_t K, const TmaMatrix& a,
                int64_t a_batch, const TmaMatrix& b, int64_t b_batch, Store store) {
  const int count = card().multiprocessors;
  if (N > 128 && batches * ceil_div(M, int64_t(128)) * ceil_div(N, int64_t(256)) >= count) {
    launch_sm90a<Type, 256>(stream, batches, M, N, K, a, a_batch, b, b_batch, store, count);
  } else {
    launch_sm90a<Type, 128>(stream, batches, M, N, K, a, a_batch, b, b_batch, store, count);
  }
}

}  // namespace hl::cuda
