// The numbers behind math.h: pieces of ln2 and pi/2, limits, and polynomials, lowest power first.
// `python tests/tools/minimax.py` prints the polynomials with their errors.
#pragma once

#include <stdint.h>

namespace hl::cpu::HL_ISA {

template <class T>
struct ExpConstants;
template <class T>
struct LogConstants;
template <class T>
struct ErfConstants;
template <class T>
struct TrigConstants;
template <class T, bool Fused>
struct TrigPieces;

// kPoly: (exp(r) - 1 - r) / r^2 on |r| <= ln2 / 2. Beyond kLowest and kHighest exp is 0 and
// infinity, below kMinusOneBelow expm1 is -1.
template <>
struct ExpConstants<float> {
  static constexpr float kLog2e = 0x1.715476p+0f;
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr float kLowest = -104, kHighest = 89, kMinusOneBelow = -18;
  static constexpr float kPoly[] = {0.5f, 0.166665435f, 0.0416664816f, 0.00836653542f,
                                    0.00139333471f};
};
template <>
struct ExpConstants<double> {
  static constexpr double kLog2e = 0x1.71547652b82fep+0;
  static constexpr double kLn2High = 0x1.62e42fefa4p-1, kLn2Low = -0x1.8432a1b0e2634p-43;
  static constexpr double kLowest = -746, kHighest = 710, kMinusOneBelow = -40;
  static constexpr double kPoly[] = {
      0.5,
      0.16666666666666677,
      0.041666666666666678,
      0.0083333333333214712,
      0.0013888888888877468,
      0.0001984126988645188,
      2.4801587340527503e-05,
      2.7557243933934422e-06,
      2.7557259313265326e-07,
      2.5109119786409461e-08,
      2.091945964323636e-09,
  };
};

// kPoly: 2 (atanh(s) / s - 1) / s^2 in s^2, for |s| <= 3 - 2 sqrt(2).
template <>
struct LogConstants<float> {
  static constexpr float kTiny = 0x1p-126f, kHuge = 0x1.fffffep127f;
  static constexpr float kPoly[] = {0.66666764f, 0.399787575f, 0.298439652f};
};
template <>
struct LogConstants<double> {
  static constexpr double kTiny = 0x1p-1022, kHuge = 0x1.fffffffffffffp1023;
  static constexpr double kPoly[] = {
      0.66666666666666985, 0.3999999999961637, 0.28571428702650253, 0.2222220228049982,
      0.18183386172879454, 0.1531831536959215, 0.14755669166854177,
  };
};

// kNear: erf(x) / x - 1 in x^2 for |x| <= 1. kTail: exp(x^2) erfc(x) / t in 1 - 2t, t = c / (x +
// c). kLimit: from here on erf is 1. kCdfLimit: from here on the normal distribution's tail is
// below the normal numbers.
template <>
struct ErfConstants<float> {
  static constexpr float kCentre = 2, kLimit = 4, kCdfLimit = 13.5f;
  static constexpr float kNear[] = {
      0.128379166f,  -0.376126289f,    0.112836182f,    -0.0268551242f,
      0.0051907259f, -0.000803065428f, 7.91990169e-05f,
  };
  static constexpr float kTail[] = {
      0.510791361f,   -0.343580484f, 0.139735729f,     -0.0182176754f,   -0.0107515501f,
      0.00321651855f, 0.0015224471f, -0.000361186074f, -0.000265848503f, -2.50186822e-05f,
  };
};
template <>
struct ErfConstants<double> {
  static constexpr double kCentre = 3, kLimit = 6, kCdfLimit = 39;
  static constexpr double kNear[] = {
      0.12837916709551259,     -0.37612638903183876,    0.11283791670958783,
      -0.026866170645631897,   0.0052239776292456498,   -0.00085483271993582724,
      0.00012055338161400656,  -1.4925748180206354e-05, 1.6463247307130268e-06,
      -1.6372371891698225e-07, 1.4798357234369911e-08,  -1.1876555591839105e-09,
      6.7628016388325013e-11,
  };
  static constexpr double kTail[] = {
      0.35800230236277991,     -0.29446481772329453,    0.1967427857013655,
      -0.10348908730019012,    0.039842587095843082,    -0.0089424115414761477,
      -0.00040413887731917766, 0.0010113540002281846,   -0.00018276988022668513,
      -9.2259280397228167e-05, 3.5853719454550139e-05,  1.0132705783114949e-05,
      -5.82307974614039e-06,   -1.5829840289483904e-06, 9.2064905187323641e-07,
      3.326307465633516e-07,   -1.3409022861329641e-07, -7.7087930950614032e-08,
      1.3443665693455238e-08,  1.5839697554555559e-08,  6.9040992053017764e-10,
      -2.0032323726154884e-09, -4.7914478059698396e-10,
  };
};

// kSine: (sin(r) / r - 1) / r^2, kCosine: (cos(r) - 1 + r^2 / 2) / r^4, both in r^2, |r| <= pi/4.
template <>
struct TrigConstants<float> {
  static constexpr float kTwoOverPi = 0x1.45f306p-1f;
  static constexpr float kSine[] = {-0.166666552f, 0.008332178f, -0.000195157903f};
  static constexpr float kCosine[] = {0.0416666456f, -0.00138873025f, 2.44308831e-05f};
};
template <>
struct TrigConstants<double> {
  static constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  static constexpr double kSine[] = {
      -0.16666666666666635,   0.0083333333333226872,   -0.00019841269829776106,
      2.7557313620891267e-06, -2.5050739976487487e-08, 1.5895424430576881e-10,
  };
  static constexpr double kCosine[] = {
      0.041666666666666602,    -0.0013888888888874149, 2.480158728931913e-05,
      -2.7557314265600165e-07, 2.0875707162131415e-09, -1.1358628493723912e-11,
  };
};

// pi/2 = the sum of kHalfPi. A fused multiply-add takes n times a whole piece without rounding;
// without one, pieces are so short that the product of n <= kFar / (pi/2) and a piece is exact.
template <>
struct TrigPieces<float, true> {
  static constexpr float kFar = 1e5f;
  static constexpr float kHalfPi[] = {0x1.921fb4p+0f, 0x1.4442dp-24f, 0x1.84698ap-48f};
};
template <>
struct TrigPieces<float, false> {
  static constexpr float kFar = 800;
  static constexpr float kHalfPi[] = {0x1.921cp+0f, 0x1.daa0p-15f, 0x1.10b4p-30f, 0x1.84698ap-48f};
};
template <>
struct TrigPieces<double, true> {
  static constexpr double kFar = 1e8;
  static constexpr double kHalfPi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c06p-54,
                                       0x1.c1cd129024e09p-107};
};
template <>
struct TrigPieces<double, false> {
  static constexpr double kFar = 1e6;
  static constexpr double kHalfPi[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69,
                                       0x1.b839a252049c1p-104};
};

}  // namespace hl::cpu::HL_ISA
