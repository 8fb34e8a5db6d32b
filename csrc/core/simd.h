// One SIMD vector of T, as wide as the machine that compiles it, and the few operations that the kernels need beyond the
// compiler's own arithmetic on vectors.
// The build uses -ffp-contract=off, so that a fused multiply-add happens exactly where it is written.
#pragma once
#include "core/half.h"
#include "core/lanes.h"

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace nerfcore {

#if defined(__AVX512F__)
constexpr int kSimdBytes = 64, kSimdRegisters = 32;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kSimdBytes = 32, kSimdRegisters = 16;
#else
constexpr int kSimdBytes = 16, kSimdRegisters = 16;  // SSE2, NEON
#endif

template <class T> constexpr int kLanes = kSimdBytes / int(sizeof(T));
typedef float Floats __attribute__((vector_size(kSimdBytes)));
typedef double Doubles __attribute__((vector_size(kSimdBytes)));
template <> struct Lane<Floats> {
  using Element = float;
  typedef int32_t Mask __attribute__((vector_size(kSimdBytes)));
  typedef int32_t Signed __attribute__((vector_size(kSimdBytes)));
  typedef uint32_t Unsigned __attribute__((vector_size(kSimdBytes)));
  typedef uint32_t Bits __attribute__((vector_size(kSimdBytes)));
};
template <> struct Lane<Doubles> {
  using Element = double;
  typedef int64_t Mask __attribute__((vector_size(kSimdBytes)));
  typedef int32_t Signed __attribute__((vector_size(kSimdBytes / 2)));
  typedef uint32_t Unsigned __attribute__((vector_size(kSimdBytes / 2)));
  typedef uint64_t Bits __attribute__((vector_size(kSimdBytes)));
};
template <class T> struct SimdOf;
template <> struct SimdOf<float> { using type = Floats; };
template <> struct SimdOf<double> { using type = Doubles; };
template <class T> using Simd = typename SimdOf<T>::type;

inline int64_t padded_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

template <class T> inline Simd<T> load(const T* p) {
  Simd<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class P, class V> inline void store(P* p, V v) { std::memcpy(p, &v, sizeof v); }
template <class T> inline Simd<T> broadcast(T x) { return splat<Simd<T>>(x); }

// The vector's half of core/lanes.h. Numbers must not be below 0 and fit 31 bits to become integers, towards zero.
template <class V> inline Unsigned<V> to_unsigned(V v) { return (Unsigned<V>)__builtin_convertvector(v, typename Lane<V>::Signed); }
template <class V> inline V from_unsigned(Unsigned<V> v) { return __builtin_convertvector((typename Lane<V>::Signed)v, V); }
template <class V> inline V abs_of(V v) { return v < V{} ? -v : v; }
template <class V> inline V floor_of(V v) {
  const V cut = __builtin_convertvector(__builtin_convertvector(v, typename Lane<V>::Signed), V);
  return cut > v ? cut - Element<V>(1) : cut;
}
inline Floats root_of(Floats v) {
#if defined(__AVX512F__)
  return (Floats)_mm512_sqrt_ps((__m512)v);
#else
  for (int i = 0; i < kLanes<float>; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}
inline Doubles root_of(Doubles v) {
  for (int i = 0; i < kLanes<double>; ++i) v[i] = std::sqrt(v[i]);
  return v;
}
template <class M> inline M not_of(M mask) { return ~mask; }
// Bit i: whether lane i of the mask is set.
template <class M> inline uint32_t lane_bits(M mask) {
#if defined(__AVX512F__)
  const __m512i zero = _mm512_setzero_si512();
  return sizeof mask[0] == 4 ? uint32_t(_mm512_cmpneq_epi32_mask((__m512i)mask, zero)) : uint32_t(_mm512_cmpneq_epi64_mask((__m512i)mask, zero));
#elif defined(__AVX2__) && defined(__FMA__)
  return uint32_t(sizeof mask[0] == 4 ? _mm256_movemask_ps((__m256)mask) : _mm256_movemask_pd((__m256d)mask));
#else
  uint32_t bits = 0;
  for (size_t i = 0; i < sizeof mask / sizeof mask[0]; ++i) bits |= uint32_t(mask[i] != 0) << i;
  return bits;
#endif
}
template <class M> inline bool any(M mask) { return lane_bits(mask) != 0; }
template <class V, class = std::enable_if_t<std::is_same<V, Simd<Element<V>>>::value>>
inline Mask<V> test_bit(const uint32_t* words, Unsigned<V> index) {
  Unsigned<V> word = index >> 5;
  for (size_t i = 0; i < sizeof index / sizeof index[0]; ++i) word[i] = words[word[i]];
  return __builtin_convertvector((word >> (index & 31) & 1) != 0, Mask<V>);
}

// a * b + c, rounded once where the machine can.
#if defined(__AVX512F__)
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif defined(__AVX2__) && defined(__FMA__)
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#elif defined(__aarch64__)
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return (Doubles)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else
inline Floats fused_multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
inline Doubles fused_multiply_add(Doubles a, Doubles b, Doubles c) { return a * b + c; }
#endif

// As fused_multiply_add, but rounded once on every machine: for the places where all back ends must agree to the bit.
template <class T> inline Simd<T> exact_multiply_add(Simd<T> a, Simd<T> b, Simd<T> c) {
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__)) || defined(__aarch64__)
  return fused_multiply_add(a, b, c);
#else
  for (int i = 0; i < kLanes<T>; ++i) c[i] = std::fma(a[i], b[i], c[i]);
  return c;
#endif
}

// exp(x) and exp(x) - 1, both to about an ulp: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for exp(r) - 1, times 2^n.
// Below -87 the result stays at exp(-87); a NaN stays a NaN.
inline void exponential(Floats x, Floats* exp, Floats* expm1) {
  constexpr float kLow = -87.0f, kHigh = 88.0f, kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = min_lanes(broadcast(kHigh), max_lanes(broadcast(kLow), x));
  const Floats rounded = fused_multiply_add(x, broadcast(1.44269504f), broadcast(kRound)), n = rounded - kRound;
  Floats r = fused_multiply_add(n, broadcast(-0.693145752f), x);
  r = fused_multiply_add(n, broadcast(-1.42860677e-6f), r);
  // (exp(r) - 1 - r) / r^2 in pairs of terms, which do not wait for one another.
  const Floats r2 = r * r, high = fused_multiply_add(r, broadcast(1.0f / 5040), broadcast(1.0f / 720));
  const Floats middle = fused_multiply_add(r, broadcast(1.0f / 120), broadcast(1.0f / 24));
  const Floats low = fused_multiply_add(r, broadcast(1.0f / 6), broadcast(0.5f));
  Floats p = fused_multiply_add(fused_multiply_add(high, r2, middle), r2, low);
  p = fused_multiply_add(p, r2, r);
  typedef Lane<Floats>::Signed Bits;
  Bits bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  bits = (bits - 0x4B400000 + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &bits, sizeof scale);
  *exp = fused_multiply_add(scale, p, scale);
  *expm1 = fused_multiply_add(scale, p, scale - 1.0f);
}

inline void exponential(Doubles x, Doubles* exp, Doubles* expm1) {
  for (int i = 0; i < kLanes<double>; ++i) (*exp)[i] = std::exp(x[i]), (*expm1)[i] = std::expm1(x[i]);
}

inline Floats exp_of(Floats x) {
  Floats exp, expm1;
  exponential(x, &exp, &expm1);
  return exp;
}
inline Doubles exp_of(Doubles x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// widen and narrow of core/half.h for the floats of a vector of any length; numbers in memory are neighbours.
template <int BYTES> struct VectorBits {
  typedef uint16_t Half __attribute__((vector_size(BYTES / 2)));
  typedef uint32_t Full __attribute__((vector_size(BYTES)));
};
template <class V> inline void widen_vector(const Bfloat16* p, V* out) {
  typename VectorBits<sizeof(V)>::Half stored;
  std::memcpy(&stored, p, sizeof stored);
  *out = (V)(__builtin_convertvector(stored, typename VectorBits<sizeof(V)>::Full) << 16);
}
template <class V> inline void widen_vector(const Float16* p, V* out) {
#if defined(__F16C__)
  static_assert(sizeof(V) <= 32, "at most 8 floats");
  __m128i stored = _mm_setzero_si128();
  std::memcpy(&stored, p, sizeof(V) / 2);
  const auto wide = [&] {
    if constexpr (sizeof(V) == 32) return _mm256_cvtph_ps(stored);
    else return _mm_cvtph_ps(stored);
  }();
  std::memcpy(out, &wide, sizeof(V));
#else
  for (size_t i = 0; i < sizeof(V) / sizeof(float); ++i) (*out)[i] = widen(p[i]);
#endif
}
inline void narrow_vector(Floats v, Bfloat16* p) {
  typedef Lane<Floats>::Bits Bits;
  const Bits bits = (Bits)v, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  store(p, __builtin_convertvector(v == v ? rounded : (Bits{} | 0x7fc0), VectorBits<kSimdBytes>::Half));
}
inline void narrow_vector(Floats v, Float16* p) {
#if defined(__AVX512F__)
  store(p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  store(p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes<float>; ++i) narrow(v[i], p + i);
#endif
}

// f(x[i]) in place for n values; `f` maps a vector. The last, partial vector is padded by zeros.
template <class T, class F> inline void map_in_place(T* x, int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(x + i, f(load(x + i)));
  if (i == n) return;
  T rest[kLanes<T>] = {};
  std::memcpy(rest, x + i, size_t(n - i) * sizeof(T));
  store(rest, f(load(rest)));
  std::memcpy(x + i, rest, size_t(n - i) * sizeof(T));
}

}  // namespace nerfcore
