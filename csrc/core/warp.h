// The threads of a warp, or of an aligned part of one, as the lanes of a vector: a Warp<T, N> is what each of N threads holds.
// Arithmetic is every thread's own; values pass between threads by pick() and lane_bits() alone. On the host, where tests run the
// algorithms of the device, one thread stands for all N and a Warp is an array.
#pragma once
#include "core/neighbors.h"

namespace nerfcore {

// Calls body(lane): on a device once, with the number of the thread that calls.
template <int N, class Body> NC_HD void for_lanes(const Body& body) {
#ifdef __CUDA_ARCH__
  body(int(threadIdx.x) & (N - 1));
#else
  for (int lane = 0; lane < N; ++lane) body(lane);
#endif
}

template <class T, int N> struct Warp {
  static_assert(N == 8 || N == 16 || N == 32, "a power of two of threads");
#ifdef __CUDA_ARCH__
  T own;
  NC_HD T& operator[](int) { return own; }
  NC_HD const T& operator[](int) const { return own; }
#else
  T held[N];
  NC_HD T& operator[](int lane) { return held[lane]; }
  NC_HD const T& operator[](int lane) const { return held[lane]; }
#endif

  Warp() = default;
  NC_HD Warp(T x) { for_lanes<N>([&](int lane) { (*this)[lane] = x; }); }
  template <class F> NC_HD static Warp of(const F& f) {  // f(lane) in each lane
    Warp v;
    for_lanes<N>([&](int lane) { v[lane] = f(lane); });
    return v;
  }

#define NC_WARP_OPERATOR(OP, Result)                                               \
  friend NC_HD Warp<Result, N> operator OP(const Warp& a, const Warp& b) {         \
    return Warp<Result, N>::of([&](int lane) { return Result(a[lane] OP b[lane]); }); \
  }
  NC_WARP_OPERATOR(+, T) NC_WARP_OPERATOR(-, T) NC_WARP_OPERATOR(*, T) NC_WARP_OPERATOR(/, T)
  NC_WARP_OPERATOR(&, T) NC_WARP_OPERATOR(|, T) NC_WARP_OPERATOR(>>, T) NC_WARP_OPERATOR(<<, T)
  NC_WARP_OPERATOR(<, bool) NC_WARP_OPERATOR(<=, bool) NC_WARP_OPERATOR(>, bool) NC_WARP_OPERATOR(>=, bool)
  NC_WARP_OPERATOR(==, bool) NC_WARP_OPERATOR(!=, bool)
#undef NC_WARP_OPERATOR
  NC_HD Warp operator-() const { return Warp{} - *this; }
  NC_HD Warp& operator+=(const Warp& b) { return *this = *this + b; }
};

template <class T, int N> struct Lane<Warp<T, N>> {
  using Element = T;
  using Mask = Warp<bool, N>;
  using Unsigned = Warp<uint32_t, N>;
  using Bits = Warp<typename Lane<T>::Bits, N>;
};

#ifdef __CUDACC__
// The threads that are lanes of the same Warp. Warps of fewer than 32 lanes may part from each other: only these wait for each other.
template <int N> __device__ __forceinline__ uint32_t threads_of_warp() {
  return N == 32 ? ~0u : ((1u << (N & 31)) - 1) << (threadIdx.x & 31 & ~(N - 1));
}
#endif

// Each lane's value is that of the lane from(lane), around the end.
template <class T, int N, class From> NC_HD Warp<T, N> pick(const Warp<T, N>& v, const From& from) {
#ifdef __CUDA_ARCH__
  return Warp<T, N>::of([&](int lane) { return __shfl_sync(threads_of_warp<N>(), v.own, from(lane), N); });
#else
  return Warp<T, N>::of([&](int lane) { return v[from(lane) & (N - 1)]; });
#endif
}

// Bit i: whether lane i is set. All lanes get all bits.
template <int N> NC_HD uint32_t lane_bits(const Warp<bool, N>& mask) {
#ifdef __CUDA_ARCH__
  return __ballot_sync(threads_of_warp<N>(), mask.own) >> (threadIdx.x & 31 & ~(N - 1)) & uint32_t((uint64_t(1) << N) - 1);
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < N; ++lane) bits |= uint32_t(mask[lane]) << lane;
  return bits;
#endif
}

// A Warp's half of core/lanes.h.
template <int N> NC_HD bool any(const Warp<bool, N>& mask) { return lane_bits(mask) != 0; }
template <int N> NC_HD Warp<bool, N> not_of(const Warp<bool, N>& mask) { return mask == Warp<bool, N>(false); }
template <class T, int N> NC_HD Warp<T, N> select(const Warp<bool, N>& mask, const Warp<T, N>& a, const Warp<T, N>& b) {
  return Warp<T, N>::of([&](int lane) { return mask[lane] ? a[lane] : b[lane]; });
}
template <class T, int N> NC_HD Warp<T, N> floor_of(const Warp<T, N>& v) {
  return Warp<T, N>::of([&](int lane) { return floor_of(v[lane]); });
}
template <class T, int N> NC_HD Warp<T, N> abs_of(const Warp<T, N>& v) {
  return Warp<T, N>::of([&](int lane) { return abs_of(v[lane]); });
}
template <class T, int N> NC_HD Warp<uint32_t, N> to_unsigned(const Warp<T, N>& v) {
  return Warp<uint32_t, N>::of([&](int lane) { return to_unsigned(v[lane]); });
}
template <class T, int N> NC_HD void exponential(const Warp<T, N>& x, Warp<T, N>* exp, Warp<T, N>* expm1) {
  for_lanes<N>([&](int lane) { exponential(x[lane], &(*exp)[lane], &(*expm1)[lane]); });
}
template <class V, int N> NC_HD Warp<bool, N> test_bit(const uint32_t* words, const Warp<uint32_t, N>& index) {
  return Warp<bool, N>::of([&](int lane) { return bool(words[index[lane] >> 5] >> (index[lane] & 31) & 1); });
}

template <class T, int N> struct Neighbors<Warp<T, N>> {
  using V = Warp<T, N>;
  static constexpr int kCount = N;

  NC_HD static V load(const T* p, int64_t n) {
    return V::of([&](int lane) { return lane < n ? p[lane] : T(0); });
  }
  NC_HD static void store(T* p, const V& v, int64_t n) {
    for_lanes<N>([&](int lane) {
      if (lane < n) p[lane] = v[lane];
    });
  }
  // Side by side the values of the lanes whose bit is set, n at most: each finds its place by counting.
  NC_HD static void store_packed(T* p, const V& v, uint32_t bits, int64_t n) {
    for_lanes<N>([&](int lane) {
      const int place = count_bits(bits & ((1u << lane) - 1));
      if (bits >> lane & 1 && place < n) p[place] = v[lane];
    });
  }
  NC_HD static V numbers() {
    return V::of([](int lane) { return T(lane); });
  }
  NC_HD static Mask<V> first(int n) {
    return Mask<V>::of([&](int lane) { return lane < n; });
  }
  NC_HD static int leading(const Mask<V>& mask) { return count_bits(lane_bits(mask) & ~(lane_bits(mask) + 1)); }
  NC_HD static T at(const V& v, int n) {
    return front_of(pick(v, [&](int) { return n; }));
  }

  NC_HD static V last_everywhere(const V& v) {
    return pick(v, [](int) { return N - 1; });
  }
  NC_HD static V first_everywhere(const V& v) {
    return pick(v, [](int) { return 0; });
  }
  // Nobody asks the last lane for its v, so it hands over the edge; behind likewise.
  NC_HD static V from_front(const V& v, const V& edge) {
    return pick(select(numbers() == T(N - 1), edge, v), [](int lane) { return lane - 1; });
  }
  NC_HD static V from_behind(const V& v, const V& edge) {
    return pick(select(numbers() == T(0), edge, v), [](int lane) { return lane + 1; });
  }
  NC_HD static V running_product(V v) {
    for (int step = 1; step < N; step *= 2) {
      const V front = pick(v, [&](int lane) { return lane - step; });
      v = select(first(step), v, v * front);
    }
    return v;
  }
  NC_HD static V sum_behind(V v) {
    for (int step = 1; step < N; step *= 2) {
      const V behind = pick(v, [&](int lane) { return lane + step; });
      v = select(first(N - step), v + behind, v);
    }
    return v;
  }
  NC_HD static V sum_in_front(const V& v) {  // of all in front of each lane, itself left out
    V sum = v;
    for (int step = 1; step < N; step *= 2) {
      const V front = pick(sum, [&](int lane) { return lane - step; });
      sum = select(first(step), sum, sum + front);
    }
    return sum - v;
  }
  NC_HD static T sum(V v) {
    for (int step = N / 2; step; step /= 2) v += pick(v, [&](int lane) { return lane ^ step; });
    return front_of(v);
  }
  NC_HD static void sums(const V* v, T* out) {
    for (int k = 0; k < 4; ++k) out[k] = sum(v[k]);
  }
  NC_HD static T front(const V& v) { return at(v, 0); }

  template <int AXIS> NC_HD static V axis(const V* triples) {
    V v{};
    for (int part = 0; part < 3; ++part) {
      const V found = pick(triples[part], [](int lane) { return 3 * lane + AXIS; });
      v = V::of([&](int lane) { return (3 * lane + AXIS) / N == part ? found[lane] : v[lane]; });
    }
    return v;
  }
  template <int PART> NC_HD static V repeated(const T* triple) {
    return V::of([&](int lane) { return triple[(PART * N + lane) % 3]; });
  }
  template <int PART> NC_HD static V tripled(const V& v) {
    return pick(v, [](int lane) { return (PART * N + lane) / 3; });
  }

 private:
  NC_HD static T front_of(const V& same_everywhere) { return same_everywhere[0]; }
};

}  // namespace nerfcore
