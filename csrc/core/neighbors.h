// Lanes that hold neighbours of an array, where those of core/lanes.h hold things side by side: loads of fewer than all lanes, scans
// along the lanes, and values by threes (x y z x y z ...) taken apart. A number is a vector of one lane, so that one body serves both.
#pragma once
#include "core/lanes.h"

#ifndef __CUDACC__
#include "core/simd.h"

#include <utility>
#endif

namespace nerfcore {

template <class V> struct Neighbors {
  static constexpr int kCount = 1;

  // The first n values, n being anything: the other lanes read as 0 and are not written.
  NC_HD static V load(const V* p, int64_t n) { return n > 0 ? *p : V{}; }
  NC_HD static void store(V* p, V v, int64_t n) {
    if (n > 0) *p = v;
  }
  NC_HD static void store_packed(V* p, V v, uint32_t bits, int64_t n) { store(p, v, bits ? n : 0); }  // only lanes whose bit is set
  NC_HD static V numbers() { return V{}; }  // 0, 1, 2, ...
  NC_HD static Mask<V> first(int n) { return n > 0; }
  NC_HD static int leading(Mask<V> mask) { return mask; }  // how many lanes are set before the first that is not
  NC_HD static V at(V v, int) { return v; }                // lane n

  NC_HD static V last_everywhere(V v) { return v; }
  NC_HD static V first_everywhere(V v) { return v; }
  NC_HD static V from_front(V, V edge) { return edge; }   // each lane's neighbour in front; of the first lane: that of edge
  NC_HD static V from_behind(V, V edge) { return edge; }  // each lane's neighbour behind
  NC_HD static V running_product(V v) { return v; }       // of each lane and all in front of it
  NC_HD static V sum_behind(V v) { return v; }            // of each lane and all behind it
  NC_HD static V sum(V v) { return v; }
  NC_HD static void sums(const V* v, V* out) {            // of four
    for (int k = 0; k < 4; ++k) out[k] = v[k];
  }
  NC_HD static V front(V v) { return v; }                 // the first lane alone

  // Of three vectors of triples: the values of one axis; and part PART of them where they are the same triple throughout, or where
  // each lane of v stands three times.
  template <int AXIS> NC_HD static V axis(const V* triples) { return triples[AXIS]; }
  template <int PART> NC_HD static V repeated(const V* triple) { return triple[PART]; }
  template <int PART> NC_HD static V tripled(V v) { return v; }
};

#ifndef __CUDACC__
// Lane i of the result is lane Index::at(i) of a, followed by b.
template <class Index, class V, size_t... I> inline V shuffle(V a, V b, std::index_sequence<I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Index::at(int(I))...);
#else
  return __builtin_shuffle(a, b, Mask<V>{Index::at(int(I))...});
#endif
}

template <class V> struct NeighborsInVector {
  using T = Element<V>;
  static constexpr int kCount = kLanes<T>;

#if defined(__AVX512F__)
  static V load(const T* p, int64_t n) {
    if (__builtin_constant_p(n >= kCount) && n >= kCount) return nerfcore::load(p);
    if constexpr (sizeof(T) == 4) return (V)_mm512_maskz_loadu_ps(bits(n), p);
    else return (V)_mm512_maskz_loadu_pd(bits(n), p);
  }
  static void store(T* p, V v, int64_t n) {
    if (__builtin_constant_p(n >= kCount) && n >= kCount) return nerfcore::store(p, v);
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, bits(n), (__m512)v);
    else _mm512_mask_storeu_pd(p, bits(n), (__m512d)v);
  }
#else
  static V load(const T* p, int64_t n) {
    if (n >= kCount) return nerfcore::load(p);
    V v{};
    for (int i = 0; i < kCount; ++i)
      if (i < n) v[i] = p[i];
    return v;
  }
  static void store(T* p, V v, int64_t n) {
    if (n >= kCount) return nerfcore::store(p, v);
    for (int i = 0; i < kCount; ++i)
      if (i < n) p[i] = v[i];
  }
#endif
  static Mask<V> first(int n) { return integers(Lanes()) < n; }
  static int leading(Mask<V> mask) { return __builtin_ctz(~lane_bits(mask)); }

  static V last_everywhere(V v) { return pick<Constant<kCount - 1>>(v, v); }
  static V first_everywhere(V v) { return pick<Constant<0>>(v, v); }
  static V from_front(V v, V edge) { return pick<Shift<kCount - 1>>(edge, v); }
  static V from_behind(V v, V edge) { return pick<Shift<1>>(v, edge); }
  template <int STEP = 1> static V running_product(V v) {
    if constexpr (STEP == kCount) return v;
    else return running_product<2 * STEP>(v * pick<Shift<kCount - STEP>>(broadcast(T(1)), v));
  }
  template <int STEP = 1> static V sum_behind(V v) {
    if constexpr (STEP == kCount) return v;
    else return sum_behind<2 * STEP>(v + pick<Shift<STEP>>(v, V{}));
  }
  static T front(V v) { return v[0]; }
  template <int STEP = kCount / 2> static T sum(V v) {
    if constexpr (STEP == 0) return v[0];
    else return sum<STEP / 2>(v + pick<Shift<STEP>>(v, v));
  }
  // Together they take fewer steps: v[0] and v[1] share a vector, then v[2] and v[3] with them.
  static void sums(const V* v, T* out) {
    if constexpr (kCount < 4) {
      for (int k = 0; k < 4; ++k) out[k] = sum(v[k]);
    } else {
      V all = halves<2>(halves<1>(v[0], v[1]), halves<1>(v[2], v[3]));
      if constexpr (kCount > 8) all += pick<Shift<8>>(all, all);
      if constexpr (kCount > 4) all += pick<Shift<4>>(all, all);
      for (int k = 0; k < 4; ++k) out[k] = all[k];
    }
  }

  template <int AXIS> static V axis(const V* triples) {
    return pick<EveryThird<AXIS, 1>>(pick<EveryThird<AXIS, 0>>(triples[0], triples[1]), triples[2]);
  }
  template <int PART> static V repeated(const T* triple) {
    V v{triple[0], triple[1]};
    if constexpr (kCount > 2) v[2] = triple[2];
    return pick<Modulo<PART>>(v, broadcast(triple[2]));  // lane 2 of two is the first of the other vector
  }
  template <int PART> static V tripled(V v) { return pick<Third<PART>>(v, v); }
  template <int PART> static V interleaved(const V* axes) {  // part PART of the triples of three axes
    return pick<Interleave<PART, 1>>(pick<Interleave<PART, 0>>(axes[0], axes[1]), axes[2]);
  }
  // Lane i of vector j becomes lane j of vector i.
  template <int STEP = 1> static void transpose(V* v) {
    if constexpr (STEP < kCount) {
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
        if (i & STEP) continue;
        const V a = v[i], b = v[i + STEP];
        v[i] = pick<Swap<STEP, 0>>(a, b);
        v[i + STEP] = pick<Swap<STEP, 1>>(a, b);
      }
      transpose<2 * STEP>(v);
    }
  }

 private:
  using Lanes = std::make_index_sequence<kCount>;
  template <int STEP> static V halves(V a, V b) { return pick<Swap<STEP, 0>>(a, b) + pick<Swap<STEP, 1>>(a, b); }
  template <size_t... I> static Mask<V> integers(std::index_sequence<I...>) { return Mask<V>{int(I)...}; }
  template <class Index> static V pick(V a, V b) { return shuffle<Index>(a, b, Lanes()); }
#if defined(__AVX512F__)
  // Of the first n lanes. By a comparison of vectors: shifts would need n between 0 and kCount, which costs branches.
  static __mmask16 bits(int64_t n) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(int(n)), lanes);
  }
#endif

  template <int LANE> struct Constant {
    static constexpr int at(int) { return LANE; }
  };
  template <int BY> struct Shift {
    static constexpr int at(int i) { return i + BY; }
  };
  template <int PART> struct Third {
    static constexpr int at(int i) { return (PART * kCount + i) / 3; }
  };
  template <int PART> struct Modulo {
    static constexpr int at(int i) { return (PART * kCount + i) % 3; }
  };
  template <int STEP, int SECOND> struct Swap {
    static constexpr int at(int i) { return SECOND ? (i & STEP ? kCount + i : i + STEP) : i & STEP ? kCount + i - STEP : i; }
  };
  template <int PART, int TURN> struct Interleave {  // first x and y, then z among them
    static constexpr int at(int i) {
      const int axis = (PART * kCount + i) % 3, lane = (PART * kCount + i) / 3;
      return TURN == 0 ? (axis == 1 ? kCount + lane : lane) : axis == 2 ? kCount + lane : i;
    }
  };
  // First out of the vectors 0 and 1, leaving room for those of vector 2, which the second turn adds.
  template <int AXIS, int TURN> struct EveryThird {
    static constexpr int at(int i) {
      const int from = 3 * i + AXIS;
      return TURN == 0 ? (from < 2 * kCount ? from : 0) : from < 2 * kCount ? i : from - kCount;
    }
  };
};
template <> struct Neighbors<Floats> : NeighborsInVector<Floats> {};
template <> struct Neighbors<Doubles> : NeighborsInVector<Doubles> {};
#endif

}  // namespace nerfcore
