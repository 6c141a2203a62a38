// Powers and remainders, one number at a time by the C library (correct in all of its forty special cases).
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

inline Vec<float> pow(Vec<float> x, Vec<float> y) {
  for (int i = 0; i < kLanes<float>; ++i) x[i] = __builtin_powf(x[i], y[i]);
  return x;
}
inline Vec<double> pow(Vec<double> x, Vec<double> y) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = __builtin_pow(x[i], y[i]);
  return x;
}

inline Vec<float> fmod(Vec<float> x, Vec<float> y) {
  for (int i = 0; i < kLanes<float>; ++i) x[i] = __builtin_fmodf(x[i], y[i]);
  return x;
}
inline Vec<double> fmod(Vec<double> x, Vec<double> y) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = __builtin_fmod(x[i], y[i]);
  return x;
}

}  // namespace hl::cpu::HL_ISA
