// The two that nobody needs in every step: the weights themselves, and the gradient by the bias.
// Both are matrices of the scores' size, or sums over them, formed a block at a time.
#include "kernel.h"
#include "ops/attention/recompute.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T>
struct Room {
  T *kt, *vt, *p, *ds, *q, *dy;
};

template <class T>
int64_t room_numbers(const PairCut& c) {
  return c.k_size + c.v_size + 2 * c.p_size + c.queries * (c.d_pitch + c.v_pitch);
}

template <class T>
Room<T> room_of(const PairCut& c, T* scratch) {
  Room<T> w;
  w.kt = scratch;
  w.vt = w.kt + c.k_size;
  w.p = w.vt + c.v_size;
  w.ds = w.p + c.p_size;
  w.q = w.ds + c.p_size;
  w.dy = w.q + c.queries * c.d_pitch;
  return w;
}

// p of the block of queries from `first` and keys from `key` into w.p, rows c.pitch apart: all
// columns up to the width, zeros where nothing is seen. With `slopes` also dS into w.ds.
template <class T>
void form_block(const AttentionShape& s, const PairCut& c, const Saved<T>& a, const Room<T>& w,
                int64_t n, int64_t h, int64_t first, int64_t queries, int64_t key, int64_t keys,
                bool slopes) {
  const int64_t hk = h / (s.H / s.Hk), width = round_up(keys, kLanes<T>);
  const int64_t live = a.terms.lengths ? a.terms.lengths[n] : s.Tk;
  const int64_t seen = min64(keys, max64(0, live - key));
  BlockSpans b;
  block_spans(s, a.terms, n, first, queries, key, keys, b);
  if (b.begin < b.end) {
    pack_turned(a.k + n * s.k[0] + key * s.k[1] + hk * s.k[2], s.k[1], seen, s.D, w.kt);
    copy_rows(a.q + n * s.q[0] + first * s.q[1] + h * s.q[2], s.q[1], queries, s.D, c.d_pitch, w.q);
    if (slopes) {
      pack_turned(a.v + n * s.v[0] + key * s.v[1] + hk * s.v[2], s.v[1], seen, s.Dv, w.vt);
      copy_rows(a.dy + ((n * s.Tq + first) * s.H + h) * s.Dv, s.H * s.Dv, queries, s.Dv, c.v_pitch,
                w.dy);
    }
  }
  for (int64_t i = 0; i < queries; i += c.mr) {
    const int64_t height = min64(c.mr, queries - i);
    const int64_t lo = b.span[i].begin, hi = b.span[i + height - 1].end;
    T *p = w.p + i * c.pitch, *ds = w.ds + i * c.pitch;
    if (lo < hi) {
      score_tile(w.q + i * c.d_pitch, c.d_pitch, height, s.D, w.kt, lo, hi, T(s.scale * kLog2e), p,
                 c.pitch);
      if (slopes) {
        score_tile(w.dy + i * c.v_pitch, c.v_pitch, height, s.Dv, w.vt, lo, hi, T(1), ds, c.pitch);
      }
    }
    tile_probabilities(s, a, b, n, h, first, key, i, height, width, p, c.pitch);
    if (slopes) tile_slopes(s, a, b, n, h, first, key, i, height, width, p, ds, c.pitch);
  }
}

// One axis of the bias's gradient: how many tasks share it out, and what each of them goes through.
struct BiasAxis {
  int64_t size, step;  // of the scores; of a task where the axis is not broadcast, else of a pass
  bool broadcast;
  int64_t tasks() const { return broadcast ? 1 : ceil_div(size, step); }
};

struct BiasCut {
  PairCut pair;
  BiasAxis axis[4];
  int64_t tasks, rows;
};

template <class T>
BiasCut bias_cut(const AttentionShape& s) {
  BiasCut c = {};
  c.pair = pair_cut<T>(s);
  c.rows = s.N * s.H * s.Tq;
  const int64_t size[4] = {s.N, s.H, s.Tq, s.Tk}, step[4] = {1, 1, c.pair.queries, c.pair.keys};
  c.tasks = 1;
  for (int i = 0; i < 4; ++i) {
    c.axis[i] = {size[i], step[i], s.bias_sizes[i] != size[i]};
    c.tasks *= c.axis[i].tasks();
  }
  return c;
}

// The block of the gradient that a task owns, summed over all that shares it.
template <class T>
void bias_task(const AttentionShape& s, const BiasCut& c, const Saved<T>& a, int64_t task,
               T* scratch, T* dbias) {
  constexpr int64_t L = kLanes<T>;
  const PairCut& k = c.pair;
  const Room<T> w = room_of(k, scratch);
  T* total = scratch + room_numbers<T>(k);
  fill_zero(total, 0, k.p_size);
  int64_t begin[4], end[4];
  for (int i = 3; i >= 0; --i) {
    const BiasAxis& x = c.axis[i];
    begin[i] = x.broadcast ? 0 : task % x.tasks() * x.step;
    end[i] = x.broadcast ? x.size : min64(x.size, begin[i] + x.step);
    task /= x.tasks();
  }
  int64_t rows = min64(k.queries, end[2] - begin[2]), columns = min64(k.keys, end[3] - begin[3]);
  for (int64_t n = begin[0]; n < end[0]; ++n) {
    for (int64_t h = begin[1]; h < end[1]; ++h) {
      for (int64_t t = begin[2]; t < end[2]; t += k.queries) {
        for (int64_t key = begin[3]; key < end[3]; key += k.keys) {
          const int64_t queries = min64(k.queries, end[2] - t), keys = min64(k.keys, end[3] - key);
          form_block(s, k, a, w, n, h, t, queries, key, keys, true);
          for (int64_t i = 0; i < queries; ++i) {
            T *to = total + i * k.pitch, *from = w.ds + i * k.pitch;
            for (int64_t j = 0; j < keys; j += L) store(to + j, load(to + j) + load(from + j));
          }
        }
      }
    }
  }
  if (c.axis[2].broadcast) {
    for (int64_t i = 1; i < rows; ++i) {
      const T* from = total + i * k.pitch;
      for (int64_t j = 0; j < columns; j += L) store(total + j, load(total + j) + load(from + j));
    }
    rows = 1;
  }
  for (int64_t i = 0; c.axis[3].broadcast && i < rows; ++i) {
    Vec<T> sum = {};
    for (int64_t j = 0; j < columns; j += L) sum += load(total + i * k.pitch + j);
    total[i * k.pitch] = hsum(sum);
  }
  if (c.axis[3].broadcast) columns = 1;
  const int64_t* size = s.bias_sizes;
  const int64_t n = c.axis[0].broadcast ? 0 : begin[0], h = c.axis[1].broadcast ? 0 : begin[1];
  T* to = dbias + ((n * size[1] + h) * size[2] + begin[2]) * size[3] + begin[3];
  for (int64_t i = 0; i < rows; ++i, to += size[3]) {
    for (int64_t j = 0; j < columns; j += L) {
      const int64_t lanes = min64(L, columns - j);
      store_n(to + j, load_n(total + i * k.pitch + j, lanes), lanes);
    }
  }
}

}  // namespace

template <class T>
Plan attention_weights_plan(const AttentionShape& s) {
  const PairCut c = pair_cut<T>(s);
  Plan p = {};
  p.algorithm = "blocks";
  p.tile[0] = c.mr, p.tile[1] = c.queries, p.tile[2] = c.keys;
  p.shared_bytes = s.N * s.H * s.Tq * int64_t(sizeof(T));
  p.worker_bytes = round_up(room_numbers<T>(c) * int64_t(sizeof(T)), 64);
  p.flops = 2.0 * visible_pairs(s) * double(s.D);
  p.bytes = double(s.N) * double(s.H) * double(s.Tq) * double(s.Tk) * sizeof(T);
  return p;
}

template <class T>
void attention_weights(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* lse,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* weights) {
  constexpr int64_t L = kLanes<T>;
  const PairCut c = pair_cut<T>(s);
  const int64_t rows = s.N * s.H * s.Tq;
  if (rows == 0 || s.Tk == 0) return;
  T* shift = reinterpret_cast<T*>(ctx.shared);
  for (int64_t i = 0; i < rows; ++i) shift[i] = shift_of(lse[i]);
  const Saved<T> a = {
      nullptr, q, k, nullptr, shift, nullptr, {lengths, starts, mask, bias, slopes}};
  const int64_t chunks = ceil_div(s.Tq, c.queries);
  parallel_for(ctx, s.N * s.H * chunks, 1, [&](int64_t begin, int64_t end, int worker) {
    const Room<T> w = room_of(c, worker_scratch<T>(ctx, worker));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % chunks * c.queries, head = task / chunks;
      const int64_t n = head / s.H, h = head % s.H, queries = min64(c.queries, s.Tq - first);
      for (int64_t key = 0; key < s.Tk; key += c.keys) {
        const int64_t keys = min64(c.keys, s.Tk - key);
        form_block(s, c, a, w, n, h, first, queries, key, keys, false);
        for (int64_t i = 0; i < queries; ++i) {
          T* p = w.p + i * c.pitch;
          if (s.threshold != 0) drop_row(s, n, h, first + i, key, keys, p);
          T* to = weights + (head * s.Tq + first + i) * s.Tk + key;
          for (int64_t j = 0; j < keys; j += L) {
            const int64_t lanes = min64(L, keys - j);
            store_n(to + j, load_n(p + j, lanes), lanes);
          }
        }
      }
    }
  });
}

template <class T>
Plan attention_bias_backward_plan(const AttentionShape& s) {
  const BiasCut c = bias_cut<T>(s);
  Plan p = {};
  p.algorithm = "blocks";
  p.tile[0] = c.pair.mr, p.tile[1] = c.pair.queries, p.tile[2] = c.pair.keys;
  p.shared_bytes = 2 * c.rows * int64_t(sizeof(T));
  p.worker_bytes = round_up((room_numbers<T>(c.pair) + c.pair.p_size) * int64_t(sizeof(T)), 64);
  p.flops = 2.0 * visible_pairs(s) * double(s.D + s.Dv);
  double size = sizeof(T);
  for (int64_t n : s.bias_sizes) size *= double(n);
  p.bytes = size;
  return p;
}

template <class T>
void attention_bias_backward(Ctx& ctx, const AttentionShape& s, const T* dy, const T* q, const T* k,
                             const T* v, const T* y, const T* lse, const int64_t* lengths,
                             const int64_t* starts, const unsigned char* mask, const T* bias,
                             const T* slopes, T* dbias) {
  const BiasCut c = bias_cut<T>(s);
  T* shift = reinterpret_cast<T*>(ctx.shared);
  T* delta = shift + c.rows;
  prepare_rows(ctx, s, dy, y, lse, shift, delta);
  const Saved<T> a = {dy, q, k, v, shift, delta, {lengths, starts, mask, bias, slopes}};
  parallel_for(ctx, c.tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      bias_task(s, c, a, task, worker_scratch<T>(ctx, worker), dbias);
    }
  });
}

HL_DEFINE_KERNEL(attention_weights);
HL_DEFINE_KERNEL(attention_bias_backward);

}  // namespace hl::cpu::HL_ISA
