// A block of points on one level of a hash grid: entries and weights of all corners by vector instructions, then the table is
// read or written corner by corner. Every entry is asked for before the first is used, so that the machine fetches many at once.
// Shared by the hash_grid operation and by the fused operations that encode. CPU only.
#pragma once
#include "core/simd.h"
#include "math/hash_grid.h"

namespace nerfcore {

constexpr int kBlock = 64;  // points whose corners are held at once; a multiple of every kLanes

// grid_corners of a block.
template <class T, int D> struct CornerBlock {
  uint32_t entry[1 << D][kBlock];
  T weight[1 << D][kBlock];
  T fraction[D][kBlock];
  T axis[D][kBlock];     // the points, axis by axis
  T tangent[D][kBlock];  // what `differentiate` was along, in fractions

  // x: [n, D], n <= kBlock.
  void compute(const T* x, int n, T scale, uint32_t resolution, uint32_t size, bool smooth) {
    for (int i = 0; i < n; ++i)
      for (int d = 0; d < D; ++d) axis[d][i] = x[i * D + d];
    for (int i = n; i < int(padded_to(n, kLanes<T>)); ++i)
      for (int d = 0; d < D; ++d) axis[d][i] = T(0);
    if (grid_is_hashed<D>(resolution, size)) compute<true>(n, scale, resolution, size, smooth);
    else compute<false>(n, scale, resolution, size, smooth);
  }

  // As grid_position and grid_entry, lane by lane.
  template <bool HASHED> void compute(int n, T scale, uint32_t resolution, uint32_t size, bool smooth) {
    constexpr uint32_t kPrimes[3] = {1u, 2654435761u, 805459861u};
    uint32_t stride = 1;
    uint32_t factor[D];
    for (int d = 0; d < D; ++d, stride *= resolution) factor[d] = HASHED ? kPrimes[d] : stride;
    for (int i = 0; i < n; i += kLanes<T>) {
      Unsigned<Simd<T>> side[D][2];
      Simd<T> near_far[D][2];
      for (int d = 0; d < D; ++d) {
        const Simd<T> zero{}, x = load(axis[d] + i);
        Simd<T> clamped = x > zero ? x : zero;  // a NaN becomes 0: it can spoil values but never an address
        clamped = clamped < T(1) ? clamped : broadcast(T(1));
        const Simd<T> position = exact_multiply_add<T>(clamped, broadcast(scale), broadcast(T(0.5)));
        const Unsigned<Simd<T>> cell = to_unsigned(position);
        const Simd<T> inside = x == x ? position - from_unsigned<Simd<T>>(cell) : x;
        side[d][0] = cell * factor[d];
        side[d][1] = side[d][0] + factor[d];
        const Simd<T> weight = smooth ? grid_ease(inside) : inside;
        near_far[d][0] = T(1) - weight;
        near_far[d][1] = weight;
        store(fraction[d] + i, inside);
      }
      for (int c = 0; c < (1 << D); ++c) {
        Unsigned<Simd<T>> e = side[0][c & 1];
        Simd<T> w = near_far[0][c & 1];
        for (int d = 1; d < D; ++d) {
          e = HASHED ? e ^ side[d][c >> d & 1] : e + side[d][c >> d & 1];
          w = w * near_far[d][c >> d & 1];
        }
        e = HASHED ? e & (size - 1) : e >= size ? e - size : e;
        store(entry[c] + i, e);
        store(weight[c] + i, w);
      }
    }
  }

  // The weights become their derivatives as the points move along `along` [n, D].
  void differentiate(const T* along, int n, T scale, bool smooth) {
    for (int d = 0; d < D; ++d)
      for (int i = 0; i < int(padded_to(n, kLanes<T>)); ++i)
        tangent[d][i] = i < n ? grid_position_derivative(axis[d][i], scale, along[i * D + d]) : T(0);
    for (int i = 0; i < n; i += kLanes<T>) {
      Simd<T> position[D], motion[D];
      for (int d = 0; d < D; ++d) position[d] = load(fraction[d] + i), motion[d] = load(tangent[d] + i);
      for (int c = 0; c < (1 << D); ++c) store(weight[c] + i, grid_weight<Simd<T>, D>(position, smooth, true, motion, c));
    }
  }
};

template <class T, int D, int F> class GridLevel {
 public:
  // along: [N, D] beside the points, if the weights shall be their derivatives along it.
  GridLevel(const GridLevels& levels, int level, const T* along = nullptr)
      : base(levels.offset[level]), size(levels.offset[level + 1] - base), resolution(levels.resolution[level]), smooth(levels.smooth),
        scale(T(levels.scale[level])), along(along) {}

  // Calls body(block, begin, n) for the blocks of the points x[begin, end), their corners computed.
  template <class Body> void for_each_block(const T* x, int64_t begin, int64_t end, const Body& body) const {
    CornerBlock<T, D> block;
    for (int64_t i = begin; i < end; i += kBlock) {
      const int n = int(min_of<int64_t>(kBlock, end - i));
      block.compute(x + i * D, n, scale, resolution, size, smooth);
      if (along) block.differentiate(along + i * D, n, scale, smooth);
      body(block, i, n);
    }
  }

  // out[i * row] [F] = the interpolated features of points x[begin, end), [N, D].
  template <class S> void gather(const S* table, const T* x, int64_t begin, int64_t end, T* out, int64_t row) const {
    table += int64_t(base) * F;
    for_each_block(x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
      prefetch<0>(block, table, n);
      for (int i = 0; i < n; ++i) {
        Features sum = {};
#pragma GCC unroll 8
        for (int c = 0; c < (1 << D); ++c) {
          FeatureVector feature;
          read(table, block.entry[c][i], &feature);
          sum += block.weight[c][i] * feature;
        }
        features(out + (first + i) * row, 0) = sum;
      }
    });
  }

  // Adjoint: adds weight * grad_out[i * row] to the entries of grad_table; with TOUCH marks them in touched, one byte an entry.
  template <bool TOUCH> void scatter(const T* grad_out, int64_t row, const T* x, int64_t begin, int64_t end, T* grad_table, uint8_t* touched) const {
    grad_table += int64_t(base) * F;
    if (TOUCH) touched += base;
    for_each_block(x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
      prefetch<1>(block, grad_table, n);
      for (int i = 0; i < n; ++i) {
        const Features g = features(grad_out + (first + i) * row, 0);
#pragma GCC unroll 8
        for (int c = 0; c < (1 << D); ++c) {
          const uint32_t entry = block.entry[c][i];
          features(grad_table, entry) += block.weight[c][i] * g;
          if (TOUCH) touched[entry] = 1;
        }
      }
    });
  }

  // Adjoint to the positions x[begin, end): adds to grad_x[d][i - begin], axis by axis, with room for whole vectors.
  template <class S, int64_t ROOM>
  void slope(const S* table, const T* grad_out, int64_t row, const T* x, int64_t begin, int64_t end, T (&grad_x)[D][ROOM]) const {
    table += int64_t(base) * F;
    T value[1 << D][kBlock] = {};  // <grad_out, feature> at each corner
    for_each_block(x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
      prefetch<0>(block, table, n);
      for (int i = 0; i < n; ++i) {
        const Features g = features(grad_out + (first + i) * row, 0);
#pragma GCC unroll 8
        for (int c = 0; c < (1 << D); ++c) {
          FeatureVector product;
          read(table, block.entry[c][i], &product);
          product *= g;
          T sum = product[0];
          for (int f = 1; f < F; ++f) sum += product[f];
          value[c][i] = sum;
        }
      }
      for (int i = 0; i < n; i += kLanes<T>) {
        Simd<T> fraction[D], tangent[D], values[1 << D], grad[D];
        for (int c = 0; c < (1 << D); ++c) values[c] = load(value[c] + i);
        for (int d = 0; d < D; ++d) fraction[d] = load(block.fraction[d] + i), tangent[d] = along ? load(block.tangent[d] + i) : Simd<T>{};
        grid_weights_backward<Simd<T>, D>(fraction, smooth, along, tangent, values, grad);
        for (int d = 0; d < D; ++d) {
          T* sum = grad_x[d] + (first - begin) + i;
          store(sum, load(sum) + grid_position_derivative(load(block.axis[d] + i), scale, grad[d]));
        }
      }
    });
  }

  const uint32_t base, size, resolution;
  const bool smooth;
  const T scale;
  const T* const along;

 private:
  // The F features of an entry as one value: F = 1, 2, 4, 8 are all sizes of a vector register or a part of one.
  typedef T Features __attribute__((vector_size(F * sizeof(T)), aligned(sizeof(T)), may_alias));
  typedef T FeatureVector __attribute__((vector_size(F * sizeof(T))));
  static Features& features(T* table, uint32_t entry) { return *reinterpret_cast<Features*>(table + size_t(entry) * F); }
  static const Features& features(const T* table, uint32_t entry) {
    return *reinterpret_cast<const Features*>(table + size_t(entry) * F);
  }

  // The features of an entry, whatever they are stored in.
  static void read(const T* table, uint32_t entry, FeatureVector* out) { *out = features(table, entry); }
  template <class S> static void read(const S* table, uint32_t entry, FeatureVector* out) { widen_vector(table + size_t(entry) * F, out); }

  template <int WRITE, class S> static void prefetch(const CornerBlock<T, D>& block, const S* table, int n) {
    for (int i = 0; i < n; ++i)
#pragma GCC unroll 8
      for (int c = 0; c < (1 << D); ++c) __builtin_prefetch(table + size_t(block.entry[c][i]) * F, WRITE);
  }
};

}  // namespace nerfcore
