// One device thread owns one (level, point) pair; consecutive threads take consecutive points of one level, so that a
// level's table is what the cache holds. The table gradient is added with atomics.
#include "core/atomic.h"
#include "core/launch.cuh"
#include "kernels/hash_grid.h"

namespace nerfcore {
namespace {

template <class T, int D> struct Corners {
  int level;
  int64_t point;
  uint32_t entry[1 << D];
  T weight[1 << D], fraction[D];

  __device__ Corners(const GridLevels& levels, const T* x, int64_t num_points, int64_t i)
      : level(int(i / num_points)), point(i % num_points) {
    const uint32_t size = levels.offset[level + 1] - levels.offset[level], resolution = levels.resolution[level];
    grid_corners<T, D>(x + point * D, T(levels.scale[level]), resolution, size, grid_is_hashed<D>(resolution, size), entry, weight, fraction);
  }
};

// F features in one transaction.
template <class T, int F> struct alignas(sizeof(T) * F <= 16 ? sizeof(T) * F : 16) Features { T f[F]; };

template <class T, int D, int F> struct Forward {
  HashGridForward<T> p;
  __device__ void operator()(int64_t i) const {
    const Corners<T, D> at(p.levels, p.x, p.num_points, i);
    const auto* table = reinterpret_cast<const Features<T, F>*>(p.table) + p.levels.offset[at.level];
    Features<T, F> sum = {};
    for (int c = 0; c < (1 << D); ++c) {
      const Features<T, F> feature = table[at.entry[c]];
      for (int f = 0; f < F; ++f) sum.f[f] += at.weight[c] * feature.f[f];
    }
    reinterpret_cast<Features<T, F>*>(p.out)[at.point * p.levels.count + at.level] = sum;
  }
};

template <class T, int D, int F> struct BackwardTable {
  HashGridBackward<T> p;
  __device__ void operator()(int64_t i) const {
    const Corners<T, D> at(p.levels, p.x, p.num_points, i);
    const Features<T, F> g = reinterpret_cast<const Features<T, F>*>(p.grad_out)[at.point * p.levels.count + at.level];
    T* grad = p.grad_table + int64_t(p.levels.offset[at.level]) * F;
    for (int c = 0; c < (1 << D); ++c)
      for (int f = 0; f < F; ++f) atomic_add(grad + int64_t(at.entry[c]) * F + f, at.weight[c] * g.f[f]);
  }
};

template <class T, int D, int F> struct BackwardX {
  HashGridBackward<T> p;
  __device__ void operator()(int64_t i) const {
    const Corners<T, D> at(p.levels, p.x, p.num_points, i);
    const auto* table = reinterpret_cast<const Features<T, F>*>(p.table) + p.levels.offset[at.level];
    const Features<T, F> g = reinterpret_cast<const Features<T, F>*>(p.grad_out)[at.point * p.levels.count + at.level];
    T value[1 << D], grad_x[D] = {};
    for (int c = 0; c < (1 << D); ++c) {
      const Features<T, F> feature = table[at.entry[c]];
      value[c] = T(0);
      for (int f = 0; f < F; ++f) value[c] += g.f[f] * feature.f[f];
    }
    grid_position_backward<T, D>(p.x + at.point * D, T(p.levels.scale[at.level]), at.fraction, value, grad_x);
    for (int d = 0; d < D; ++d) atomic_add(p.grad_x + at.point * D + d, grad_x[d]);
  }
};

}  // namespace

template <class T> void hash_grid_forward_cuda(const HashGridForward<T>& params, int dims, int features, void* stream) {
  const int64_t n = params.num_points * params.levels.count;
  NC_GRID_SHAPE(dims, features, (for_each_cuda("hash_grid_forward", Forward<T, D, F>{params}, n, stream)));
}

template <class T> void hash_grid_backward_cuda(const HashGridBackward<T>& params, int dims, int features, void* stream) {
  const int64_t n = params.num_points * params.levels.count;
  if (params.grad_table) NC_GRID_SHAPE(dims, features, (for_each_cuda("hash_grid_backward to table", BackwardTable<T, D, F>{params}, n, stream)));
  if (params.grad_x) NC_GRID_SHAPE(dims, features, (for_each_cuda("hash_grid_backward to x", BackwardX<T, D, F>{params}, n, stream)));
}

template void hash_grid_forward_cuda(const HashGridForward<float>&, int, int, void*);
template void hash_grid_forward_cuda(const HashGridForward<double>&, int, int, void*);
template void hash_grid_backward_cuda(const HashGridBackward<float>&, int, int, void*);
template void hash_grid_backward_cuda(const HashGridBackward<double>&, int, int, void*);

}  // namespace nerfcore
