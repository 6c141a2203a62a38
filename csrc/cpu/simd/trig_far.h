// The remainder of a large argument by pi/2: Payne and Hanek's method, one number at a time.
//
// x = m 2^e with a whole m. Of the bits of 2/pi, those above weight 2^-(e-1) contribute whole
// multiples of 4 to x 2/pi and may be left out; the 192 bits that follow leave at least 64
// significant ones even for the double that lies closest to a multiple of pi/2 (at a distance of
// about 2^-61).
#pragma once

#include <stdint.h>
#include <string.h>

namespace hl::cpu::HL_ISA {

constexpr uint64_t kTwoOverPiBits[] = {
    0,  // room for arguments near 1
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
};

// x = q pi/2 + r for x >= 1, |r| <= pi/4; r to about half an ulp, q modulo 4. NaN for infinity and
// NaN.
inline double reduce_far(double x, int& q) {
  using Wide = unsigned __int128;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  const int exponent = int(bits >> 52) & 0x7ff;
  q = 0;
  if (exponent == 0x7ff) return __builtin_nan("");
  const uint64_t m = (bits & 0xfffffffffffff) | 0x10000000000000;
  const int first = exponent - 1075 + 62;  // the bit of weight 2^-(e-1) in the table
  const uint64_t* word = kTwoOverPiBits + first / 64;
  const int shift = first % 64;
  uint64_t w[3];
  for (int i = 0; i < 3; ++i) {
    w[i] = shift ? word[i] << shift | word[i + 1] >> (64 - shift) : word[i];
  }
  // The top 128 of the product's 192 bits: two of quadrant, then the fraction.
  Wide p = (Wide(m * w[0]) << 64) + Wide(m) * w[1] + (Wide(m) * w[2] >> 64);
  q = int((p + (Wide(1) << 125)) >> 126) & 3;
  p -= Wide(unsigned(q)) << 126;
  const bool negative = p >> 127;
  if (negative) p = -p;
  const uint64_t high = uint64_t(p >> 64);
  const int zeros = high ? __builtin_clzll(high) : 64 + __builtin_clzll(uint64_t(p) | 1);
  const uint64_t fraction = uint64_t((p << zeros) >> 64);
  constexpr uint64_t kHalfPi = 0xc90fdaa22168c235;  // pi/2 * 2^63
  const uint64_t r = uint64_t((Wide(fraction) * kHalfPi) >> 64);
  const uint64_t unit = uint64_t(1023 - 61 - zeros) << 52;
  double step;
  memcpy(&step, &unit, sizeof step);
  const double y = double(r) * step;
  return negative ? -y : y;
}

}  // namespace hl::cpu::HL_ISA
