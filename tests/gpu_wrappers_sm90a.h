// The part of gpu_wrappers.cu for compute capability 9.0, inside its namespace.

uint16_t bits_of_type(float v, bool f16) {
  uint32_t u;
  memcpy(&u, &v, sizeof u);
  if (!f16) return uint16_t(u >> 16);
  return v == 0 ? 0 : uint16_t((u >> 16 & 0x8000) | (((u & 0x7fffffff) >> 13) - (112 << 10)));
}
std::vector<uint16_t> matrix(int seed, int rows, int columns, bool f16) {
  std::vector<uint16_t> m(size_t(rows) * size_t(columns));
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      m[size_t(i) * size_t(columns) + size_t(j)] = bits_of_type(pattern(seed, i, j), f16);
    }
  }
  return m;
}

// ---- TMA ---------------------------------------------------------------------------------------------
struct BoxPlace {
  int column, row;
};
struct BoxPlaces {
  BoxPlace at[5];
};
constexpr BoxPlaces kBoxes = {{{0, 0}, {64, 32}, {-8, -3}, {48, 39}, {200, 0}}};
constexpr int kBoxCount = 5, kBoxRows = 16, kBoxWords = kBoxRows * 32;

__global__ void boxes(const __grid_constant__ TensorMap map, BoxPlaces places, uint32_t* out) {
  struct Room {
    uint32_t box[kBoxCount][kBoxWords];
    Mbarrier landed;
  };
  HL_SHARED_TILES(Room, room);
  if (threadIdx.x == 0) {
    mbarrier_init(&room->landed, 1);
    fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&room->landed, int(sizeof room->box));
    for (int n = 0; n < kBoxCount; ++n) {
      tma_load(room->box[n], map, &room->landed, places.at[n].column, places.at[n].row);
    }
  }
  mbarrier_wait(&room->landed, 0);
  for (int i = int(threadIdx.x); i < int(sizeof room->box / 4); i += int(blockDim.x)) {
    out[i] = (&room->box[0][0])[i];
  }
}

// ---- wgmma -------------------------------------------------------------------------------------------
constexpr int kProductDepth = 64;

template <class Type, int N, bool kAcross, bool kRegisters>
__global__ void __launch_bounds__(kWarpgroup, 1)
    wide_products(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map,
                  float* out) {
  struct Room {
    uint16_t a[64 * kProductDepth], b[N * kProductDepth];
    Mbarrier landed;
  };
  HL_SHARED_TILES(Room, room);
  if (threadIdx.x == 0) {
    mbarrier_init(&room->landed, 1);
    fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&room->landed, int(sizeof room->a + sizeof room->b));
    tma_load(room->a, a_map, &room->landed, 0, 0);
    for (int j = 0; j < (kAcross ? N : 1); j += 64) {
      tma_load(room->b + j * kProductDepth, b_map, &room->landed, j, 0);
    }
  }
  mbarrier_wait(&room->landed, 0);
  const int row = int(threadIdx.x) / 32 * 16 + lane() / 4, column = lane() % 4 * 2;
  float sum[N / 8][4];
  for (int j = 0; j < N / 8; ++j) {
    for (int e = 0; e < 4; ++e) sum[j][e] = 5;  // which the first product does not add to
  }
  uint32_t a[kProductDepth / 16][4];
  for (int k = 0; k < kProductDepth / 16; ++k) {
    for (int part = 0; part < 4; ++part) {
      const int i = row + part % 2 * 8, at = 16 * k + column + part / 2 * 8;
      const float v[2] = {pattern(2, i, at), pattern(2, i, at + 1)};
      a[k][part] = Words<Type>::make(v);
    }
  }
  wgmma_fence(sum);
#pragma unroll
  for (int k = 0; k < kProductDepth; k += 16) {
    const uint64_t b =
        kAcross ? factor_across(room->b, k, 64 * kProductDepth * 2) : factor_along(room->b, k);
    if constexpr (kRegisters) {
      wgmma<Type, kAcross>(sum, a[k / 16], b, k > 0);
    } else {
      wgmma<Type, kAcross>(sum, factor_along(room->a, k), b, k > 0);
    }
  }
  wgmma_commit();
  wgmma_wait<0>(sum);
  wgmma_fence(sum);  // and once more the last quarter, on top of it
  const uint64_t b =
      kAcross ? factor_across(room->b, 48, 64 * kProductDepth * 2) : factor_along(room->b, 48);
  wgmma<Type, kAcross>(sum, factor_along(room->a, 48), b, true);
  wgmma_commit();
  wgmma_wait<0>(sum);
  for (int j = 0; j < N / 8; ++j) {
    for (int e = 0; e < 4; ++e) {
      out[(row + e / 2 * 8) * N + 8 * j + column + e % 2] = sum[j][e];
    }
  }
}

template <class Type, int N, bool kAcross, bool kRegisters>
void run_wide_product(const char* type) {
  const bool f16 = type[0] == 'f';
  char name[64];
  snprintf(name, sizeof name, "wgmma %s %d%s%s", type, N, kAcross ? " across" : "",
           kRegisters ? " registers" : "");
  auto b = matrix(3, N, kProductDepth, f16);
  if (kAcross) {
    const auto along = b;
    for (int k = 0; k < kProductDepth; ++k) {
      for (int j = 0; j < N; ++j) b[size_t(k * N + j)] = along[size_t(j * kProductDepth + k)];
    }
  }
  Array<uint16_t> left(matrix(2, 64, kProductDepth, f16)), right(b);
  Array<float> out(64 * N);
  TensorMap a_map, b_map;
  const int rows = kAcross ? kProductDepth : N, columns = kAcross ? N : kProductDepth;
  make_tensor_map(&a_map, {left.device, 64, kProductDepth, kProductDepth}, 64);
  make_tensor_map(&b_map, {right.device, rows, columns, columns}, rows);
  const int bytes = (64 + N) * kProductDepth * 2 + 8;
  auto* const to_out = out.device;
  HL_LAUNCH((wide_products<Type, N, kAcross, kRegisters>), 1, kWarpgroup, bytes, nullptr, a_map,
            b_map, to_out);
  print(name, out.back());
  auto expected = product(64, N, kProductDepth, 0);
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < N; ++j) {
      for (int k = 48; k < 64; ++k)
        expected[size_t(i * N + j)] += pattern(2, i, k) * pattern(3, j, k);
    }
  }
  check(name, out.host, expected);
}

template <class Type>
void run_wide_products(const char* type) {
  run_wide_product<Type, 64, false, false>(type);
  run_wide_product<Type, 128, false, false>(type);
  run_wide_product<Type, 256, false, false>(type);
  run_wide_product<Type, 64, true, false>(type);
  run_wide_product<Type, 128, true, false>(type);
  run_wide_product<Type, 64, true, true>(type);
  run_wide_product<Type, 128, true, true>(type);
  run_wide_product<Type, 64, false, true>(type);
}

// ---- all together ------------------------------------------------------------------------------------
enum Mistake {
  kNone,
  kNoFullWait,     // products of a stage that has not landed
  kNoEmptyWait,    // a stage that is still read is filled again
  kEarlyRelease,   // ... because it was given back before the products were waited for
  kNoProductWait,  // sums are stored while products run
  kTouched,        // sums are written while products run
  kNoFence,        // products without wgmma_fence()
  kWrongParity,    // full barriers waited for from the wrong phase on
  kFewBytes,       // fewer bytes expected than come
  kManyBytes,      // and more
  kNoInitFence,    // barriers that TMA does not know of
  kTooManyRegisters,
  kOverwritten,  // a barrier is written over
  kNotNamed,     // a wait does not name the sums that it waits for
};
constexpr const char* kMistakes[] = {
    "none",          "no_full_wait",       "no_empty_wait", "early_release", "no_product_wait",
    "touched",       "no_fence",           "wrong_parity",  "few_bytes",     "many_bytes",
    "no_init_fence", "too_many_registers", "overwritten",   "not_named"};

constexpr int kPipelineSteps = 7, kPipelineStages = 2, kPipelineDepth = 64 * kPipelineSteps;

struct PipelineRoom {
  uint16_t a[kPipelineStages][64 * 64], b[kPipelineStages][64 * 64];
  Mbarrier full[kPipelineStages], empty[kPipelineStages];
};

// C (64 x 64) = A B^T by one warpgroup, another asks for the tiles, a third gives its registers.
template <int kMistake>
__global__ void __launch_bounds__(3 * kWarpgroup, 1)
    pipeline(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map,
             float* out) {
  HL_SHARED_TILES(PipelineRoom, room);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kPipelineStages; ++s) {
      mbarrier_init(&room->full[s], 1);
      mbarrier_init(&room->empty[s], 1);
    }
    if (kMistake != kNoInitFence) fence_barrier_init();
  }
  __syncthreads();
  const int thread = int(threadIdx.x) % kWarpgroup;
  if (threadIdx.x >= kWarpgroup) {
    if (kMistake != kTooManyRegisters) setmaxnreg_dec<40>();
    if (kMistake == kOverwritten && thread == 1) room->empty[0] = 0;
    if (threadIdx.x != kWarpgroup) return;
    for (int step = 0; step < kPipelineSteps; ++step) {
      const int s = step % kPipelineStages, parity = step / kPipelineStages & 1;
      if (kMistake != kNoEmptyWait) mbarrier_wait(&room->empty[s], parity ^ 1);
      const int off = kMistake == kFewBytes ? -128 : kMistake == kManyBytes ? 128 : 0;
      mbarrier_arrive_expect(&room->full[s], 2 * 64 * 128 + off);
      tma_load(room->a[s], a_map, &room->full[s], step * 64, 0);
      tma_load(room->b[s], b_map, &room->full[s], step * 64, 0);
    }
    return;
  }
  setmaxnreg_inc<240>();
  float sum[8][4] = {};
  for (int step = 0; step < kPipelineSteps; ++step) {
    const int s = step % kPipelineStages, parity = step / kPipelineStages & 1;
    if (kMistake != kNoFullWait) {
      mbarrier_wait(&room->full[s], kMistake == kWrongParity ? parity ^ 1 : parity);
    }
    if (kMistake != kNoFence) wgmma_fence(sum);
#pragma unroll
    for (int k = 0; k < 64; k += 16) {
      wgmma<Bf16>(sum, factor_along(room->a[s], k), factor_along(room->b[s], k), true);
    }
    wgmma_commit();
    if (kMistake == kTouched) sum[0][0] += 1;
    if (kMistake == kEarlyRelease && thread == 0) mbarrier_arrive(&room->empty[s]);
    if (kMistake == kNotNamed) {
      wgmma_wait<0>();
    } else if (kMistake != kNoProductWait || step + 1 < kPipelineSteps) {
      wgmma_wait<0>(sum);
    }
    if (kMistake != kEarlyRelease && thread == 0) mbarrier_arrive(&room->empty[s]);
  }
  const int row = thread / 32 * 16 + lane() / 4, column = lane() % 4 * 2;
  for (int j = 0; j < 8; ++j) {
    for (int e = 0; e < 4; ++e) {
      out[(row + e / 2 * 8) * 64 + 8 * j + column + e % 2] = sum[j][e];
    }
  }
  named_barrier_sync(1, kWarpgroup);
}

template <int kMistake>
void run_pipeline() {
  Array<uint16_t> left(matrix(2, 64, kPipelineDepth, false)),
      right(matrix(3, 64, kPipelineDepth, false));
  Array<float> out(64 * 64);
  TensorMap a_map, b_map;
  make_tensor_map(&a_map, {left.device, 64, kPipelineDepth, kPipelineDepth}, 64);
  make_tensor_map(&b_map, {right.device, 64, kPipelineDepth, kPipelineDepth}, 64);
  auto* const to_out = out.device;
  HL_LAUNCH((pipeline<kMistake>), 1, 3 * kWarpgroup, int(sizeof(PipelineRoom)), nullptr, a_map,
            b_map, to_out);
  print("pipeline", out.back());
  check("pipeline", out.host, product(64, 64, kPipelineDepth, 0));
}

#if defined(HL_EMULATOR)
template <int kMistake = kNone>
int run_mistake(const char* name) {
  if constexpr (kMistake < int(std::size(kMistakes))) {
    if (strcmp(name, kMistakes[kMistake]) != 0) return run_mistake<kMistake + 1>(name);
    run_pipeline<kMistake>();
    return g_wrong ? 1 : 0;
  }
  printf("no mistake of that name\n");
  return 2;
}
#endif

void run_sm90a() {
  Array<uint16_t> numbers(matrix(1, 40, 80, false));
  Array<uint32_t> copied(kBoxCount * kBoxWords);
  TensorMap map;
  make_tensor_map(&map, {numbers.device, 40, 72, 80}, kBoxRows);
  auto* const to_copied = copied.device;
  HL_LAUNCH(boxes, 1, 64, int(copied.host.size() * 4 + 8), nullptr, map, kBoxes, to_copied);
  print("tma boxes", copied.back());
  for (size_t box = 0; box < kBoxCount; ++box) {
    for (int r = 0; r < kBoxRows; ++r) {
      for (int c = 0; c < 64; ++c) {
        const int i = kBoxes.at[box].row + r, j = kBoxes.at[box].column + c;
        const bool inside = i >= 0 && i < 40 && j >= 0 && j < 72;
        const int at = r * 128 + ((c / 8 ^ r % 8) * 8 + c % 8) * 2;
        const uint32_t word = copied.host[box * kBoxWords + size_t(at / 4)];
        const uint16_t got = uint16_t(word >> at % 4 * 8);
        if (got == (inside ? numbers.host[size_t(i * 80 + j)] : 0)) continue;
        printf("WRONG tma box %zu, row %d, column %d\n", box, r, c);
        g_wrong = true;
      }
    }
  }
  run_wide_products<Bf16>("bfloat16");
  run_wide_products<F16>("float16");
  run_pipeline<kNone>();
}
