// The words of mma.h on the CPU: fragments laid out as the PTX ISA says, copies that come late.
#pragma once

#include <math.h>

namespace hl::cuda {

// ---- numbers --------------------------------------------------------------------------------------
inline uint32_t bits_of(float v) {
  uint32_t u;
  memcpy(&u, &v, sizeof u);
  return u;
}
inline float float_of(uint32_t u) {
  float v;
  memcpy(&v, &u, sizeof v);
  return v;
}
// Without the last `drop` bits, to the nearest, ties to even.
inline uint32_t round_off(uint32_t u, int drop) {
  return (u + (1u << (drop - 1)) - 1 + (u >> drop & 1)) >> drop;
}

inline float to_float(Bf16 v) { return float_of(uint32_t(v.bits) << 16); }
inline float to_float(F16 v) {
  const int exponent = v.bits >> 10 & 31, mantissa = v.bits & 1023;
  const float size = exponent == 31  ? (mantissa ? NAN : INFINITY)
                     : exponent == 0 ? ldexpf(float(mantissa), -24)
                                     : ldexpf(float(mantissa + 1024), exponent - 25);
  return v.bits >> 15 ? -size : size;
}
inline float to_float(Tf32 v) { return float_of(v.bits & ~0x1fffu); }

inline Bf16 to_bf16(float v) {
  return {v != v ? uint16_t(0x7fff) : uint16_t(round_off(bits_of(v), 16))};
}
inline F16 to_f16(float v) {
  if (v != v) return {0x7fff};
  const uint32_t sign = bits_of(v) >> 16 & 0x8000, size = bits_of(v) & 0x7fffffff;
  if (size >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // from 65520 on: infinity
  if (size < 0x38800000) {                                   // below 2^-14: steps of 2^-24
    return {uint16_t(sign | uint32_t(nearbyintf(ldexpf(fabsf(v), 24))))};
  }
  return {uint16_t(sign | (round_off(size, 13) - (112 << 10)))};
}
inline uint32_t pack_bf16(float first, float second) {
  return to_bf16(first).bits | uint32_t(to_bf16(second).bits) << 16;
}
inline uint32_t pack_f16(float first, float second) {
  return to_f16(first).bits | uint32_t(to_f16(second).bits) << 16;
}
inline Tf32 to_tf32(float v) {
  const uint32_t u = bits_of(v);
  if (v != v) return {0x7fffffff};
  return {(u & 0x7fffffff) >= 0x7f800000 ? u : (u + 0x1000) & ~0x1fffu};
}

// ---- shared memory --------------------------------------------------------------------------------
inline void cp_async16(void* shared, const void* from, int bytes = 16) {
  emulator::check_shared(shared, 16, "cp.async");
  if (uintptr_t(from) % 16 != 0 || bytes < 0 || bytes > 16) {
    emulator::die("cp.async from an address that is no multiple of 16, or not 0 to 16 bytes");
  }
  emulator::copy_later(shared, from, bytes);
}
inline void cp_async_commit() { emulator::commit_copies(); }
template <int kNewest>
void cp_async_wait() {
  emulator::await_copies(kNewest);
}

inline void ldmatrix(uint32_t (&r)[4], const void* row, bool transposed) {
  emulator::check_shared(row, 16, "ldmatrix");
  emulator::exchange(&row, sizeof row);
  for (int block = 0; block < 4; ++block) {
    uint16_t number[2];
    for (int e = 0; e < 2; ++e) {
      const int g = lane() / 4, at = lane() % 4 * 2 + e;
      const unsigned char* from = nullptr;
      emulator::read_lane(block * 8 + (transposed ? at : g), &from, sizeof from);
      memcpy(&number[e], from + 2 * (transposed ? g : at), sizeof number[e]);
    }
    r[block] = number[0] | uint32_t(number[1]) << 16;
  }
  emulator::end_exchange();
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) { ldmatrix(r, row, false); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) { ldmatrix(r, row, true); }

// ---- d += a b --------------------------------------------------------------------------------------
inline void numbers_of(uint32_t word, Bf16, float* v) {
  v[0] = to_float(Bf16{uint16_t(word)}), v[1] = to_float(Bf16{uint16_t(word >> 16)});
}
inline void numbers_of(uint32_t word, F16, float* v) {
  v[0] = to_float(F16{uint16_t(word)}), v[1] = to_float(F16{uint16_t(word >> 16)});
}
inline void numbers_of(uint32_t word, Tf32, float* v) { v[0] = to_float(Tf32{word}); }

// kEach numbers a word. Sums in float32 in the order of k; a card adds in its own order, as exactly.
template <class Type, int kEach>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  struct Words {
    uint32_t a[4], b[2];
  } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, theirs;
  const int g = lane() / 4, t = lane() % 4;
  float row[2][8 * kEach], column[2][8 * kEach];
  emulator::exchange(&mine, sizeof mine);
  for (int word = 0; word < 4; ++word) {
    emulator::read_lane(4 * g + word, &theirs, sizeof theirs);
    for (int part = 0; part < 4; ++part) {
      numbers_of(theirs.a[part], Type(), &row[part % 2][(word + part / 2 * 4) * kEach]);
    }
    for (int n = 0; n < 2; ++n) {
      emulator::read_lane(4 * (2 * t + n) + word, &theirs, sizeof theirs);
      for (int part = 0; part < 2; ++part) {
        numbers_of(theirs.b[part], Type(), &column[n][(word + part * 4) * kEach]);
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 8 * kEach; ++k) d[i] += row[i / 2][k] * column[i % 2][k];
  }
  emulator::end_exchange();
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  mma<Bf16, 2>(d, a, b);
}
inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  mma<F16, 2>(d, a, b);
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  mma<Tf32, 1>(d, a, b);
}

}  // namespace hl::cuda
