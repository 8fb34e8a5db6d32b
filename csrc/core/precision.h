// What tensor cores multiply: float32 rounded to bfloat16, to half (core/half.h) or to TF32. Products are summed in float32.
#pragma once
#include "core/half.h"

namespace nerfcore {

enum class Precision : int { kFloat32 = 0, kTf32 = 1, kBf16 = 2, kFp16 = 3 };

template <class Number> NC_HD uint32_t narrow_pair(float low, float high) {
  Number a, b;
  narrow(low, &a), narrow(high, &b);
  return a.bits | uint32_t(b.bits) << 16;
}

// Two numbers a word.
struct Bf16 {
  static constexpr int kBytes = 2;
  static constexpr bool kScalesGradient = false;

  NC_HD static uint32_t pack(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#else
    return narrow_pair<Bfloat16>(low, high);
#endif
  }
};

// Two numbers a word. Gradients of a mean over many pixels are below its range, so they are multiplied there.
struct Fp16 {
  static constexpr int kBytes = 2;
  static constexpr bool kScalesGradient = true;

  NC_HD static uint32_t pack(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#else
    return narrow_pair<Float16>(low, high);
#endif
  }
};

// float32 with eleven bits of mantissa, one number a word; halves away from zero.
struct Tf32 {
  static constexpr int kBytes = 4;
  static constexpr bool kScalesGradient = false;

  NC_HD static uint32_t round(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t word;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
    return word;
#else
    const uint32_t bits = bits_of_float(x);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;
#endif
  }
};

}  // namespace nerfcore
