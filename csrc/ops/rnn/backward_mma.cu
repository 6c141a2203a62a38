// Backward of the plain recurrent cells, all steps of a chunk in one launch. Under autocast on tensor
// cores, else in float32.
//
// A block owns 16 units. It makes the gradients of their gates, tells them, and multiplies those of all
// blocks by its columns of w_hh: what its own units hand to the step before.
#include "ops/rnn/together.cuh"

namespace hl::cuda {
namespace {

constexpr int kBackwardUnits = 16;

struct BackwardCall {
  BackwardChunk chunk;
  RnnInputs<float> in;
  RnnSaved<float> saved;
  Told told;
  int tiles;       // of the weights
  int tiles_each;  // of the sequences of a group
};

// What forward left of one unit of one sequence in one step: h or c as it became, and as it was before.
struct Left {
  float dy, gate[4], made, old;
};
// Gradients: of the gates before their functions (in front of w_hh h, and of w_ih x where the GRU's n has
// another), and what goes to the states before the step without a product.
struct Slopes {
  float h[4], x_n, to_h, to_c;
};

template <RnnCell kCell>
__device__ __forceinline__ Slopes slopes(RnnCell cell, const Left& v, float dh, float dc) {
  Slopes d = {};
  if constexpr (kCell == RnnCell::kLstm) {
    const float i = v.gate[0], f = v.gate[1], g = v.gate[2], o = v.gate[3], th = tanh(v.made);
    const float to = dh * o * (1 - th * th) + dc;
    d.h[0] = to * g * (i * (1 - i)), d.h[1] = to * v.old * (f * (1 - f));
    d.h[2] = to * i * (1 - g * g), d.h[3] = dh * th * (o * (1 - o));
    d.to_c = to * f;
  } else if constexpr (kCell == RnnCell::kGru) {
    const float r = v.gate[0], z = v.gate[1], n = v.gate[2], u = v.gate[3];
    d.x_n = dh * (1 - z) * (1 - n * n);
    d.h[0] = d.x_n * u * (r * (1 - r)), d.h[1] = dh * (v.old - n) * (z * (1 - z));
    d.h[2] = d.x_n * r;
    d.to_h = dh * z;
  } else {
    d.h[0] = cell == RnnCell::kRelu ? (v.made <= 0 ? 0.0f : dh) : dh * (1 - v.made * v.made);
  }
  return d;
}

template <class Type, int kN>
using BackwardKind = TogetherKind<Type, kBackwardUnits, kN, 2>;

template <class Type, RnnCell kCell, int kN>
__global__ void __launch_bounds__(kThreads, 1)
    backward_together_kernel(const __grid_constant__ BackwardCall call) {
  using Kind = BackwardKind<Type, kN>;
  using Sums = typename Kind::Sums;
  constexpr int G = kCellGates<kCell>, kRows = Kind::kRows;
  constexpr int kOfC = kMostTiles * kThreads;  // from dh of a tile to dc
  HL_SHARED(uint32_t, weights);
  const int tid = int(threadIdx.x);
  float* const rooms = reinterpret_cast<float*>(weights + call.tiles * kRows * kRowWords);
  float* const room = rooms + tid / kWarp * Sums::kFloats;
  float* const kept = rooms + kTogetherWarps * Sums::kFloats + tid;

  const BackwardChunk& chunk = call.chunk;
  const Walk& walk = chunk.walk;
  const int64_t N = walk.s.N, H = walk.s.H, t0 = chunk.t0;
  const Part<Kind, kBackwardUnits> part(N, H, call.tiles_each);
  const int64_t j = part.j;
  const GridBarrier barrier = call.told.barrier();

  keep_weights<Type, kRows>(weights, call.tiles, [&](int row, int k) {
    const int64_t column = j - part.unit + row;
    return column < H && k < G * H ? call.in.w_hh[k * H + column] : 0.0f;
  });
  for (int p = 0; p < part.tiles; ++p) {
    const int64_t n = part.sequence(p);
    if (n >= N) continue;
    kept[p * kThreads] = chunk.dh[n * H + j];
    if (kCell == RnnCell::kLstm) kept[kOfC + p * kThreads] = chunk.dc[n * H + j];
  }

  Left next = {};
  const auto fetch = [&](int64_t t, int p) {
    const int64_t n = part.sequence(p);
    if (t < t0 || n >= N || !walk.live(n, t)) return;
    const int64_t place = walk.place(n, t) * H + j;
    next.dy = chunk.dy ? chunk.dy[place] : 0.0f;
    if (G > 1) {
      const float* gates = call.saved.gates + walk.row(n, t) * walk.s.gate_stride + j;
#pragma unroll
      for (int g = 0; g < 4; ++g) next.gate[g] = gates[g * H];
    } else {
      next.made = chunk.y[place];
    }
    if (kCell == RnnCell::kLstm) {
      next.made = call.saved.cells[walk.row(n, t) * H + j];
      const float c0 = call.in.c0 ? call.in.c0[n * H + j] : 0.0f;
      next.old = t > 0 ? call.saved.cells[walk.row(n, t - 1) * H + j] : c0;
    }
    if (kCell == RnnCell::kGru) next.old = walk.h_before(chunk.y, call.in.h0, n, t, j);
  };
  fetch(t0 + chunk.steps - 1, 0);
  __syncthreads();
  for (int64_t t = t0 + chunk.steps - 1; t >= t0; --t) {
    for (int p = 0; p < part.tiles; ++p) {
      const Left now = next;
      fetch(p + 1 < part.tiles ? t : t - 1, p + 1 < part.tiles ? p + 1 : 0);
      const int64_t n = part.sequence(p);
      Slopes d = {};
      if (n < N && walk.live(n, t)) {
        float *const dh = kept + p * kThreads, *const dc = dh + kOfC;
        d = slopes<kCell>(walk.s.cell, now, *dh + now.dy, kCell == RnnCell::kLstm ? *dc : 0.0f);
        *dh = d.to_h;
        if (kCell == RnnCell::kLstm) *dc = d.to_c;
#pragma unroll
        for (int g = 0; g < G; ++g) tell<Type>(call.told.row(t, n), g * H + j, d.h[g]);
      }
      if (p + 1 == part.tiles) barrier.arrive();
      if (n >= N) continue;
      // Nobody waits for these; of a sequence that has ended, zeros.
      float* to = chunk.d + ((t - t0) * N + n) * chunk.stride + j;
#pragma unroll
      for (int g = 0; g < G; ++g) {
        to[g * H] = kCell == RnnCell::kGru && g == 2 ? d.x_n : d.h[g];
        to[(G + g) * H] = d.h[g];
      }
    }
    barrier.wait(unsigned(walk.s.steps - t));
    for (int p = 0; p < part.tiles; ++p) {
      Sums sums;
      sums.add(weights, call.tiles, call.told.row(t, part.first(p)), call.told.words, room);
      sums.put(room);
      __syncthreads();
      const int64_t n = part.sequence(p);
      if (n < N && walk.live(n, t)) {
        kept[p * kThreads] += Sums::total(rooms, part.unit, part.in_tile);
      }
      __syncthreads();  // the rooms are free
    }
  }
  for (int p = 0; p < part.tiles; ++p) {
    const int64_t n = part.sequence(p);
    if (n >= N) continue;
    chunk.dh[n * H + j] = kept[p * kThreads];
    if (kCell == RnnCell::kLstm) chunk.dc[n * H + j] = kept[kOfC + p * kThreads];
  }
}

template <class Type, RnnCell kCell, int kN>
class BackwardTogether final : public BackwardSteps {
 public:
  BackwardTogether(const RnnShape& s, const RnnInputs<float>& in, const RnnSaved<float>& saved,
                   unsigned char* scratch)
      : in_(in),
        saved_(saved),
        tiles_(int(told_words<Type>(kCellGates<kCell> * s.H) / kRowWords)),
        grid_(together_grid<BackwardKind<Type, kN>>(&backward_together_kernel<Type, kCell, kN>, s,
                                                    kBackwardUnits, tiles_)),
        told_(scratch, s.N, told_words<Type>(kCellGates<kCell> * s.H)) {}
  bool fits() const { return grid_.fits; }

  void run(const Ctx& ctx, const BackwardChunk& chunk) const override {
    const RnnShape& s = chunk.walk.s;
    if (chunk.t0 + chunk.steps == s.steps) {
      told_.begin<Type>(ctx, s.N, 0, nullptr);
    }
    const BackwardCall call = {chunk, in_, saved_, told_, tiles_, grid_.tiles_each};
    HL_LAUNCH_COOPERATIVE((backward_together_kernel<Type, kCell, kN>),
                          dim3(unsigned(grid_.slices), unsigned(grid_.groups)), kThreads,
                          grid_.shared_bytes, ctx.stream, call);
  }

 private:
  RnnInputs<float> in_;
  RnnSaved<float> saved_;
  int tiles_;
  TogetherGrid grid_;
  Told told_;
};

const Entry<rnn_backward_t<float>>* plain() {
  return static_cast<const Entry<rnn_backward_t<float>>*>(plain_entry("rnn_backward", 1));
}

template <class T>
Plan rnn_backward_plan(const RnnShape& s) {
  Plan plan = plain()->plan(s);
  if (!together_takes(s)) return plan;
  plan.algorithm = "all steps in one launch";
  plan.why = "if all blocks run at once; else steps, a product each";
  plan.shared_bytes = aligned(plan.shared_bytes) + Told::bytes(s.N, product_gates(s.cell) * s.H);
  return plan;
}

template <class T>
void rnn_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                  const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                  const RnnGradients<T>& out) {
  bool done = false;
  if (together_takes(s)) {
    unsigned char* scratch = ctx.shared + aligned(plain()->plan(s).shared_bytes);
    with_factors(ctx, [&](auto type) {
      with_cell(s, [&](auto cell, auto n) {
        const BackwardTogether<decltype(type), cell(), n()> steps(s, in, saved, scratch);
        if (!steps.fits()) return;
        rnn_backward_by(ctx, s, dy, dhn, dcn, in, saved, y, out, steps);
        done = true;
      });
    });
  }
  if (!done) plain()->run(ctx, s, dy, dhn, dcn, in, saved, y, out);
}

HL_CUDA_MMA_KERNEL(rnn_backward);

}  // namespace
}  // namespace hl::cuda
