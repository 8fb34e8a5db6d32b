// Half precision as storage: numbers are read and written in it, never added or multiplied.
#pragma once
#include "core/platform.h"

#include <cstring>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

namespace nerfcore {

struct Float16 { uint16_t bits; };   // IEEE binary16: 11 binary digits, 6e-8 to 65504
struct Bfloat16 { uint16_t bits; };  // the upper half of a float: 8 binary digits, the range of a float

// What memory holds: numbers of the type that is computed with, or one of the two.
enum class Storage { kFull, kFloat16, kBfloat16 };

NC_HD float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
NC_HD uint32_t bits_of_float(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Exact.
NC_HD float widen(float x) { return x; }
NC_HD double widen(double x) { return x; }
NC_HD float widen(Bfloat16 x) { return float_of_bits(uint32_t(x.bits) << 16); }
NC_HD float widen(Float16 x) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(x.bits));
#else
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) return float_of_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);   // infinite, or no number
  if (rest >= 0x400) return float_of_bits(sign | ((rest << 13) + (uint32_t(112) << 23)));  // exponents are biased by 127, not 15
  return float_of_bits(sign | bits_of_float(float(rest) * 0x1p-24f));
#endif
}

// Rounded to the nearest, ties to even.
NC_HD void narrow(float x, Bfloat16* out) {
  const uint32_t bits = bits_of_float(x);
  out->bits = x == x ? uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16) : uint16_t(0x7fc0);
}
NC_HD void narrow(float x, Float16* out) {
#ifdef __CUDA_ARCH__
  out->bits = __half_as_ushort(__float2half_rn(x));
#else
  const uint32_t bits = bits_of_float(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  uint32_t half = ((rest + 0xfff + (rest >> 13 & 1)) >> 13) - (112 << 10);
  if (rest < 0x38800000) half = bits_of_float(float_of_bits(rest) + 0.5f) - bits_of_float(0.5f);  // below 2^-14: the addition rounds
  if (rest >= 0x477ff000) half = 0x7c00;                                                         // 65520 and above
  if (rest > 0x7f800000) half = 0x7e00;
  out->bits = uint16_t(sign | half);
#endif
}

}  // namespace nerfcore
