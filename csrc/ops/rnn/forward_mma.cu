// Forward of the plain recurrent cells, all steps of a chunk in one launch. Under autocast on tensor
// cores, else in float32.
//
// A block owns the units j0 ... j0 + kUnits - 1 of all gates, so that a cell's state never leaves the
// thread that computes it.
#include "ops/rnn/together.cuh"

namespace hl::cuda {
namespace {

// A block's units: all gates of each are among its rows.
template <RnnCell kCell>
constexpr int kForwardRows = kCellGates<kCell> == 1 ? 16 : 32;

struct ForwardCall {
  ForwardChunk chunk;
  RnnInputs<float> in;
  RnnSaved<float> saved;
  float* y;
  float* state;  // (N, H): c of an LSTM, h of a GRU
  Told told;
  int tiles;       // of the weights
  int tiles_each;  // of the sequences of a group
};

// What a thread made of one unit of one sequence in one step.
struct Made {
  float h, c, gate[4];
};

// x and v: w_ih x and w_hh h with their biases, which are all in x but for the GRU's n.
template <RnnCell kCell>
__device__ __forceinline__ Made make(RnnCell cell, const float* x, const float* v, float old) {
  Made m = {};
  if constexpr (kCell == RnnCell::kLstm) {
    const float i = sigmoid(x[0] + v[0]), f = sigmoid(x[1] + v[1]);
    const float g = tanh(x[2] + v[2]), o = sigmoid(x[3] + v[3]);
    m.c = f * old + i * g;
    m.h = o * tanh(m.c);
    m.gate[0] = i, m.gate[1] = f, m.gate[2] = g, m.gate[3] = o;
  } else if constexpr (kCell == RnnCell::kGru) {
    const float r = sigmoid(x[0] + v[0]), z = sigmoid(x[1] + v[1]), n = tanh(r * v[2] + x[2]);
    m.h = m.c = z * (old - n) + n;
    m.gate[0] = r, m.gate[1] = z, m.gate[2] = n, m.gate[3] = v[2];
  } else {
    const float z = x[0] + v[0];
    m.h = cell == RnnCell::kRelu ? (z <= 0 ? 0.0f : z) : tanh(z);
  }
  return m;
}

template <class Type, RnnCell kCell, int kN>
using ForwardKind = TogetherKind<Type, kForwardRows<kCell>, kN, 1>;

template <class Type, RnnCell kCell, int kN>
__global__ void __launch_bounds__(kThreads, 1)
    forward_together_kernel(const __grid_constant__ ForwardCall call) {
  using Kind = ForwardKind<Type, kCell, kN>;
  using Sums = typename Kind::Sums;
  constexpr int G = kCellGates<kCell>, kRows = Kind::kRows, kUnits = kRows / G;
  HL_SHARED(uint32_t, weights);
  const int tid = int(threadIdx.x);
  float* const rooms = reinterpret_cast<float*>(weights + call.tiles * kRows * kRowWords);
  float* const room = rooms + tid / kWarp * Sums::kFloats;
  float* const kept = rooms + kTogetherWarps * Sums::kFloats + tid;

  const Walk& walk = call.chunk.walk;
  const int64_t N = walk.s.N, H = walk.s.H, t0 = call.chunk.t0, end = t0 + call.chunk.steps;
  const Part<Kind, kUnits> part(N, H, call.tiles_each);
  const int64_t j = part.j;
  const GridBarrier barrier = call.told.barrier();

  keep_weights<Type, kRows>(weights, call.tiles, [&](int row, int k) {
    const int64_t gate = row / kUnits, line = j - part.unit + row % kUnits;
    const bool there = gate < G && line < H && k < H;
    return there ? call.in.w_hh[(gate * H + line) * H + k] : 0.0f;
  });
  float bias[G] = {}, bias_n = 0;
  for (int g = 0; g < G && j < H; ++g) {
    const float v = call.in.b_hh ? call.in.b_hh[g * H + j] : 0.0f;
    bias[g] = call.in.b_ih ? call.in.b_ih[g * H + j] : 0.0f;
    if (kCell == RnnCell::kGru && g == 2) {
      bias_n = v;
    } else {
      bias[g] += v;
    }
  }
  for (int p = 0; p < part.tiles && G > 1; ++p) {
    const int64_t n = part.sequence(p);
    if (n < N) kept[p * kThreads] = call.state[n * H + j];
  }

  float next[G] = {};  // of w_ih x, on its way
  const auto fetch = [&](int64_t t, int p) {
    const int64_t n = part.sequence(p);
    if (t >= end || n >= N) return;
    const float* from = call.chunk.ax + ((t - t0) * N + n) * G * H + j;
#pragma unroll
    for (int g = 0; g < G; ++g) next[g] = from[g * H];
  };
  fetch(t0, 0);
  __syncthreads();
  for (int64_t t = t0; t < end; ++t) {
    for (int p = 0; p < part.tiles; ++p) {
      Sums sums;
      sums.add(weights, call.tiles, call.told.row(t, part.first(p)), call.told.words, room);
      sums.put(room);
      float x[G], v[G];
#pragma unroll
      for (int g = 0; g < G; ++g) x[g] = next[g] + bias[g];
      __syncthreads();
      fetch(p + 1 < part.tiles ? t : t + 1, p + 1 < part.tiles ? p + 1 : 0);
      const int64_t n = part.sequence(p);
      const bool live = n < N && walk.live(n, t);
      Made m = {};
      if (live) {
#pragma unroll
        for (int g = 0; g < G; ++g) v[g] = Sums::total(rooms, g * kUnits + part.unit, part.in_tile);
        if (kCell == RnnCell::kGru) v[2] += bias_n;
        m = make<kCell>(walk.s.cell, x, v, G > 1 ? kept[p * kThreads] : 0.0f);
        if (G > 1) kept[p * kThreads] = m.c;
        tell<Type>(call.told.row(t + 1, n), j, m.h);
      }
      if (p + 1 < part.tiles) {
        __syncthreads();  // the rooms are free
      } else {
        barrier.arrive();
      }
      if (!live) continue;
      // Nobody waits for these.
      call.y[walk.place(n, t) * H + j] = m.h;
      if (G > 1 && call.saved.gates) {
        float* to = call.saved.gates + walk.row(n, t) * walk.s.gate_stride + j;
#pragma unroll
        for (int g = 0; g < 4; ++g) to[g * H] = m.gate[g];
      }
      if (kCell == RnnCell::kLstm && call.saved.cells) {
        call.saved.cells[walk.row(n, t) * H + j] = m.c;
      }
    }
    if (t + 1 < end) barrier.wait(unsigned(t + 1));
  }
  for (int p = 0; p < part.tiles && G > 1; ++p) {
    const int64_t n = part.sequence(p);
    if (n < N) call.state[n * H + j] = kept[p * kThreads];
  }
}

void begin_state(const Ctx& ctx, int64_t count, const float* from, float* to) {
  each(ctx, count, [=] __device__(int64_t i) { to[i] = from ? from[i] : 0.0f; });
}

template <class Type, RnnCell kCell, int kN>
class ForwardTogether final : public ForwardSteps {
 public:
  ForwardTogether(const RnnShape& s, const RnnInputs<float>& in, const RnnSaved<float>& saved,
                  float* y, unsigned char* scratch)
      : in_(in),
        saved_(saved),
        y_(y),
        tiles_(int(told_words<Type>(s.H) / kRowWords)),
        grid_(together_grid<ForwardKind<Type, kCell, kN>>(
            &forward_together_kernel<Type, kCell, kN>, s, kForwardRows<kCell> / kCellGates<kCell>,
            tiles_)),
        told_(scratch, s.N, told_words<Type>(s.H)) {}
  bool fits() const { return grid_.fits; }

  void run(const Ctx& ctx, const ForwardChunk& chunk) const override {
    if (chunk.t0 == 0) {
      const RnnShape& s = chunk.walk.s;
      told_.begin<Type>(ctx, s.N, s.H, in_.h0);
      if (kCell == RnnCell::kGru) begin_state(ctx, s.N * s.H, in_.h0, chunk.c);
    }
    const ForwardCall call = {chunk, in_, saved_, y_, chunk.c, told_, tiles_, grid_.tiles_each};
    HL_LAUNCH_COOPERATIVE((forward_together_kernel<Type, kCell, kN>),
                          dim3(unsigned(grid_.slices), unsigned(grid_.groups)), kThreads,
                          grid_.shared_bytes, ctx.stream, call);
  }

 private:
  RnnInputs<float> in_;
  RnnSaved<float> saved_;
  float* y_;
  int tiles_;
  TogetherGrid grid_;
  Told told_;
};

const Entry<rnn_forward_t<float>>* plain() {
  return static_cast<const Entry<rnn_forward_t<float>>*>(plain_entry("rnn_forward", 1));
}

template <class T>
Plan rnn_forward_plan(const RnnShape& s) {
  Plan plan = plain()->plan(s);
  if (!together_takes(s)) return plan;
  plan.algorithm = "all steps in one launch";
  plan.why = "if all blocks run at once; else steps, a product each";
  plan.shared_bytes = aligned(plan.shared_bytes) + Told::bytes(s.N, s.H);
  return plan;
}

template <class T>
void rnn_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved,
                 T* y, T* hn, T* cn) {
  bool done = false;
  if (together_takes(s)) {
    unsigned char* scratch = ctx.shared + aligned(plain()->plan(s).shared_bytes);
    with_factors(ctx, [&](auto type) {
      with_cell(s, [&](auto cell, auto n) {
        const ForwardTogether<decltype(type), cell(), n()> steps(s, in, saved, y, scratch);
        if (!steps.fits()) return;
        rnn_forward_by(ctx, s, in, saved, y, hn, cn, steps);
        done = true;
      });
    });
  }
  if (!done) plain()->run(ctx, s, in, saved, y, hn, cn);
}

HL_CUDA_MMA_KERNEL(rnn_forward);

}  // namespace
}  // namespace hl::cuda
