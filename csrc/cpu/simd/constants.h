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
struct TanhConstants;
template <class T>
struct ErfConstants;
template <class T>
struct TrigConstants;
template <class T, bool Fused>
struct TrigPieces;

// kPoly: (exp(r) - 1 - r) / r^2 on |r| <= ln2 / 2. Beyond kLowest and kHighest exp is 0 and
// infinity, below kMinusOneBelow expm1 is -1, within kSmall it is x.
template <>
struct ExpConstants<float> {
  static constexpr float kLog2e = 0x1.715476p+0f;
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr float kLowest = -104, kHighest = 89, kMinusOneBelow = -18, kSmall = 0x1p-25f;
  static constexpr float kPoly[] = {0.5f, 0.166665435f, 0.0416664816f, 0.00836653542f,
                                    0.00139333471f};
};
template <>
struct ExpConstants<double> {
  static constexpr double kLog2e = 0x1.71547652b82fep+0;
  static constexpr double kLn2High = 0x1.62e42fefa4p-1, kLn2Low = -0x1.8432a1b0e2634p-43;
  static constexpr double kLowest = -746, kHighest = 710, kMinusOneBelow = -40, kSmall = 0x1p-54;
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

// 2 (atanh(s) / s - 1) / s^2 in s^2: kPoly for |s| <= 3 - 2 sqrt(2), kUnit for |s| <= 1/3.
template <>
struct LogConstants<float> {
  static constexpr float kTiny = 0x1p-126f, kHuge = 0x1.fffffep127f;
  static constexpr float kPoly[] = {0.66666764f, 0.399787575f, 0.298439652f};
  static constexpr float kUnit[] = {0.666664481f, 0.400200218f, 0.280231774f, 0.279178113f};
};
template <>
struct LogConstants<double> {
  static constexpr double kTiny = 0x1p-1022, kHuge = 0x1.fffffffffffffp1023;
  static constexpr double kPoly[] = {
      0.66666666666666985, 0.3999999999961637, 0.28571428702650253, 0.2222220228049982,
      0.18183386172879454, 0.1531831536959215, 0.14755669166854177,
  };
  static constexpr double kUnit[] = {
      0.66666666666666674, 0.39999999999995522,  0.28571428572304325, 0.22222222139482325,
      0.18181822642920395, 0.15384465975688444,  0.13336578339885474, 0.11718329204354322,
      0.10957061463669573, 0.070515596938215228, 0.16375895718664518,
  };
};

// kNear: (tanh(x) / x - 1) / x^2 in x^2, up to kFar. From kLimit / 2 on tanh is 1.
template <>
struct TanhConstants<float> {
  static constexpr float kFar = 0.55f, kLimit = 20;
  static constexpr float kNear[] = {-0.333333224f, 0.133327201f, -0.0538644567f, 0.0211163498f,
                                    -0.00633186055f};
};
template <>
struct TanhConstants<double> {
  static constexpr double kFar = 0.55, kLimit = 40;
  static constexpr double kNear[] = {
      -0.33333333333333071,    0.13333333333255867,   -0.053968253911978667,  0.021869486717161987,
      -0.0088632033280673268,  0.0035917837670487616, -0.0014535057524652565, 0.0005799274907638002,
      -0.00021150308199928728, 5.1798611688289472e-05};
};

// kNear: erf(x) / x - 1 in x^2, up to kSwitch; kFar: log(erfc(x)) from there to kLimit, where erf
// is 1. kTail: exp(x^2 / 2) (integral of the normal distribution from x on) / t in 1 - 2t, t = c /
// (x + c), c = kCentre. Beyond kTailLimit that integral is below the normal numbers.
template <>
struct ErfConstants<float> {
  static constexpr float kSwitch = 0.85f, kLimit = 3.95f, kCentre = 3.5f, kTailLimit = 13.5f;
  static constexpr float kNear[] = {0.128379166f,   -0.376125902f,  0.112828709f,
                                    -0.0268076677f, 0.00505846133f, -0.000635332253f};
  static constexpr float kFar[] = {-9.55395444e-05f, -1.12810051f,    -0.636448145f,  -0.104592048f,
                                   0.0225529894f,    -0.00312692695f, 0.000204663724f};
  static constexpr float kTail[] = {
      0.212690309f,   -0.161589071f,    0.0901213661f,    -0.0331579521f,  0.00497403461f,
      0.00185492611f, -0.000910232658f, -0.000141998928f, 0.000124501472f, 3.40730076e-05f};
};
template <>
struct ErfConstants<double> {
  static constexpr double kSwitch = 1, kLimit = 5.95, kCentre = 4, kTailLimit = 39;
  static constexpr double kNear[] = {
      0.12837916709551259,     -0.37612638903183876,    0.11283791670958783,
      -0.026866170645631897,   0.0052239776292456498,   -0.00085483271993582724,
      0.00012055338161400656,  -1.4925748180206354e-05, 1.6463247307130268e-06,
      -1.6372371891698225e-07, 1.4798357234369911e-08,  -1.1876555591839105e-09,
      6.7628016388325013e-11,
  };
  static constexpr double kFar[] = {
      -4.6987615943069678e-07, -1.1283743969435165,     -0.63664229661091221,
      -0.10270699519388909,    0.018996735819822662,    0.0004017683449190878,
      -0.0019068622306055781,  0.00076343146952497648,  -0.00013055850286548869,
      -2.247337284484925e-05,  2.3677528087716894e-05,  -8.9269666456784127e-06,
      2.1968260721891624e-06,  -3.8421751297788255e-07, 4.7849735774683787e-08,
      -4.0630006024306536e-09, 2.1165514102723554e-10,  -5.113364613314309e-12};
  static constexpr double kTail[] = {
      0.18882128260393788,     -0.15197416049297302,    0.096784350185553966,
      -0.046630464489915611,   0.015099143722692417,    -0.0018850472416273923,
      -0.00086992309074298212, 0.00040770461352608188,  3.333606463412182e-05,
      -5.7773727137877095e-05, -4.7697219954199266e-07, 8.7861464619277979e-06,
      1.787759756925848e-07,   -1.4800105868583928e-06, -1.5636681352580528e-07,
      2.5547214402033979e-07,  6.6109732829456797e-08,  -3.91504832943418e-08,
      -1.9353946921597835e-08, 4.0152980039508269e-09,  3.6745221611168621e-09,
      -8.3354510490311975e-11, -3.019946370785707e-10};
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
