// One SIMD vector of T, as wide as the machine that compiles it, and the three operations that the kernels need.
// The build uses -ffp-contract=off, so that a fused multiply-add happens exactly where it is written.
#pragma once
#include <cstring>
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

namespace nerfcore {

#if defined(__AVX512F__)
constexpr int kSimdBytes = 64, kSimdRegisters = 32;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kSimdBytes = 32, kSimdRegisters = 16;
#else
constexpr int kSimdBytes = 16, kSimdRegisters = 16;
#endif

template <class T> constexpr int kLanes = kSimdBytes / int(sizeof(T));
typedef float Floats __attribute__((vector_size(kSimdBytes)));
typedef double Doubles __attribute__((vector_size(kSimdBytes)));
template <class T> struct SimdOf;
template <> struct SimdOf<float> { using type = Floats; };
template <> struct SimdOf<double> { using type = Doubles; };
template <class T> using Simd = typename SimdOf<T>::type;

template <class T> inline Simd<T> load(const T* p) {
  Simd<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T> inline void store(T* p, Simd<T> v) { std::memcpy(p, &v, sizeof v); }
template <class T> inline Simd<T> broadcast(T x) { return x - Simd<T>{}; }

// a * b + c, rounded once where the machine can.
#if defined(__AVX512F__)
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif defined(__AVX2__) && defined(__FMA__)
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#else
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return a * b + c; }
#endif

}  // namespace nerfcore
