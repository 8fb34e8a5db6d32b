// As many directions side by side as a SIMD vector has lanes; rows of the tensors become lanes, and back, by shuffles.
#include "core/neighbors.h"  // first: what it declares for vectors must be known where the mathematics uses it

#include "core/parallel.h"
#include "kernels/spherical_harmonics.h"

#include <type_traits>

namespace nerfcore {
namespace {

constexpr int64_t kDirectionsPerChunk = 1024;  // a multiple of every kLanes

// The x, y and z of up to `count` directions.
template <class V> void load_directions(const Element<V>* p, int64_t count, V* axes) {
  using Lanes = Neighbors<V>;
  V triples[3];
  for (int k = 0; k < 3; ++k) triples[k] = Lanes::load(p + k * Lanes::kCount, 3 * count - k * Lanes::kCount);
  axes[0] = Lanes::template axis<0>(triples), axes[1] = Lanes::template axis<1>(triples), axes[2] = Lanes::template axis<2>(triples);
}

template <class V> void store_directions(Element<V>* p, const V* axes, int64_t count) {
  using Lanes = Neighbors<V>;
  Lanes::store(p, Lanes::template interleaved<0>(axes), 3 * count);
  Lanes::store(p + Lanes::kCount, Lanes::template interleaved<1>(axes), 3 * count - Lanes::kCount);
  Lanes::store(p + 2 * Lanes::kCount, Lanes::template interleaved<2>(axes), 3 * count - 2 * Lanes::kCount);
}

// Calls block(i, count) for the directions i to i + count of each vector; count is a constant except in the last one.
template <class T, class Block> void for_each_vector(int64_t n, int threads, const Block& block) {
  constexpr int kCount = kLanes<T>;
  parallel_for(n, kDirectionsPerChunk, threads, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kCount <= end; i += kCount) block(i, std::integral_constant<int64_t, kCount>());
    if (i < end) block(i, end - i);
  });
}

template <int DEGREE, class T> void forward(const SphericalHarmonicsForward<T>& p, int64_t n, int threads) {
  using Lanes = Neighbors<Simd<T>>;
  constexpr int kSize = DEGREE * DEGREE, kCount = Lanes::kCount;
  for_each_vector<T>(n, threads, [&](int64_t i, auto count) {
    Simd<T> d[3], out[16] = {};
    load_directions(p.direction + 3 * i, count, d);
    spherical_harmonics_basis(d, DEGREE, out);
#pragma GCC unroll 16
    for (int c = 0; c < kSize; c += kCount) {
      Lanes::transpose(out + c);
#pragma GCC unroll 16
      for (int k = 0; k < kCount; ++k)
        if (k < count) Lanes::store(p.out + (i + k) * kSize + c, out[c + k], kSize - c);
    }
  });
}

template <int DEGREE, class T> void backward(const SphericalHarmonicsBackward<T>& p, int64_t n, int threads) {
  using Lanes = Neighbors<Simd<T>>;
  constexpr int kSize = DEGREE * DEGREE, kCount = Lanes::kCount;
  for_each_vector<T>(n, threads, [&](int64_t i, auto count) {
    Simd<T> d[3], grad_d[3], grad_out[16] = {};
    load_directions(p.direction + 3 * i, count, d);
#pragma GCC unroll 16
    for (int c = 0; c < kSize; c += kCount) {
#pragma GCC unroll 16
      for (int k = 0; k < kCount; ++k)
        if (k < count) grad_out[c + k] = Lanes::load(p.grad_out + (i + k) * kSize + c, kSize - c);
      Lanes::transpose(grad_out + c);
    }
    spherical_harmonics_basis_backward(d, DEGREE, grad_out, grad_d);
    store_directions(p.grad_direction + 3 * i, grad_d, count);
  });
}

}  // namespace

// Rows of 1 or 4 components are too short to be worth the shuffles.
template <class T> void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<T>& params, int64_t n, int threads) {
  if (params.degree == 4) forward<4>(params, n, threads);
  else if (params.degree == 3) forward<3>(params, n, threads);
  else for_each_cpu(params, n, threads);
}

template <class T> void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<T>& params, int64_t n, int threads) {
  if (params.degree == 4) backward<4>(params, n, threads);
  else if (params.degree == 3) backward<3>(params, n, threads);
  else for_each_cpu(params, n, threads);
}

template <class T> void spherical_harmonics_backward2_cpu(const SphericalHarmonicsBackward2<T>& params, int64_t n, int threads) {
  for_each_cpu(params, n, threads);
}

template void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<float>&, int64_t, int);
template void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<double>&, int64_t, int);
template void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<float>&, int64_t, int);
template void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<double>&, int64_t, int);
template void spherical_harmonics_backward2_cpu(const SphericalHarmonicsBackward2<float>&, int64_t, int);
template void spherical_harmonics_backward2_cpu(const SphericalHarmonicsBackward2<double>&, int64_t, int);

}  // namespace nerfcore
