// Points are taken in blocks: entries and weights of a block are computed with vector instructions, then the table is read or
// written corner by corner. Work is ordered level by level, so that one level's table (2 MB at 2^17 x 4) stays in cache:
// point-major order falls to a fifth of the speed once the whole table exceeds the cache.
#include "kernels/hash_grid.h"

#include "core/parallel.h"

namespace nerfcore {
namespace {

constexpr int kBlock = 64;              // points whose corners are held at once
constexpr int64_t kPointsPerTask = 2048;

template <class T, int D> struct CornerBlock {
  uint32_t entry[1 << D][kBlock];
  T weight[1 << D][kBlock];
  T fraction[D][kBlock];

  void compute(const T* x, int n, T scale, uint32_t resolution, uint32_t size, bool hashed) {
    if (hashed) compute<true>(x, n, scale, resolution, size);
    else compute<false>(x, n, scale, resolution, size);
  }

  template <bool HASHED> void compute(const T* x, int n, T scale, uint32_t resolution, uint32_t size) {
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      uint32_t e[1 << D];
      T w[1 << D], f[D], p[D];
      for (int d = 0; d < D; ++d) p[d] = x[i * D + d];
      grid_corners<T, D>(p, scale, resolution, size, HASHED, e, w, f);
      for (int c = 0; c < (1 << D); ++c) entry[c][i] = e[c], weight[c][i] = w[c];
      for (int d = 0; d < D; ++d) fraction[d][i] = f[d];
    }
  }
};

// Calls body(block, begin, n, level_base, level) for the blocks of points [begin, end) on one level.
template <class T, int D, class Body>
void for_each_block(const GridLevels& levels, int level, const T* x, int64_t begin, int64_t end, const Body& body) {
  const uint32_t base = levels.offset[level], size = levels.offset[level + 1] - base, resolution = levels.resolution[level];
  const bool hashed = grid_is_hashed<D>(resolution, size);
  CornerBlock<T, D> block;
  for (int64_t i = begin; i < end; i += kBlock) {
    const int n = int(min_of<int64_t>(kBlock, end - i));
    block.compute(x + i * D, n, T(levels.scale[level]), resolution, size, hashed);
    body(block, i, n);
  }
}

template <class T, int D, int F> void forward(const HashGridForward<T>& p, int threads) {
  const int num_levels = p.levels.count;
  const int64_t row = int64_t(num_levels) * F, tasks = (p.num_points + kPointsPerTask - 1) / kPointsPerTask;
  parallel_for(num_levels * tasks, 1, threads, [&](int64_t task, int64_t) {
    const int level = int(task / tasks);
    const int64_t begin = task % tasks * kPointsPerTask, end = min_of(begin + kPointsPerTask, p.num_points);
    const T* table = p.table + int64_t(p.levels.offset[level]) * F;
    for_each_block<T, D>(p.levels, level, p.x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
      for (int i = 0; i < n; ++i) {
        T sum[F] = {};
        for (int c = 0; c < (1 << D); ++c) {
          const T* feature = table + int64_t(block.entry[c][i]) * F;
          const T w = block.weight[c][i];
          for (int f = 0; f < F; ++f) sum[f] += w * feature[f];
        }
        T* out = p.out + (first + i) * row + level * F;
        for (int f = 0; f < F; ++f) out[f] = sum[f];
      }
    });
  });
}

// A level's table belongs to one thread: no atomics, a fixed order of additions, the same bits for any thread count.
template <class T, int D, int F> void backward_table(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.levels.count, 1, threads, [&](int64_t task, int64_t) {
    const int level = p.levels.count - 1 - int(task);  // the large levels first: better balance
    T* grad = p.grad_table + int64_t(p.levels.offset[level]) * F;
    for_each_block<T, D>(p.levels, level, p.x, 0, p.num_points, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
      for (int i = 0; i < n; ++i)
        for (int c = 0; c < (1 << D); ++c) __builtin_prefetch(grad + int64_t(block.entry[c][i]) * F, 1);
      for (int i = 0; i < n; ++i) {
        const T* g = p.grad_out + (first + i) * row + level * F;
        for (int c = 0; c < (1 << D); ++c) {
          T* target = grad + int64_t(block.entry[c][i]) * F;
          const T w = block.weight[c][i];
          for (int f = 0; f < F; ++f) target[f] += w * g[f];
        }
      }
    });
  });
}

template <class T, int D, int F> void backward_x(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.num_points, kPointsPerTask, threads, [&](int64_t begin, int64_t end) {
    for (int level = 0; level < p.levels.count; ++level) {
      const T* table = p.table + int64_t(p.levels.offset[level]) * F;
      const T scale = T(p.levels.scale[level]);
      for_each_block<T, D>(p.levels, level, p.x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
        for (int i = 0; i < n; ++i) {
          const T* g = p.grad_out + (first + i) * row + level * F;
          T value[1 << D], fraction[D];
          for (int d = 0; d < D; ++d) fraction[d] = block.fraction[d][i];
          for (int c = 0; c < (1 << D); ++c) {
            const T* feature = table + int64_t(block.entry[c][i]) * F;
            value[c] = T(0);
            for (int f = 0; f < F; ++f) value[c] += g[f] * feature[f];
          }
          grid_position_backward<T, D>(p.x + (first + i) * D, scale, fraction, value, p.grad_x + (first + i) * D);
        }
      });
    }
  });
}

}  // namespace

template <class T> void hash_grid_forward_cpu(const HashGridForward<T>& params, int dims, int features, int threads) {
  NC_GRID_SHAPE(dims, features, (forward<T, D, F>(params, threads)));
}

template <class T> void hash_grid_backward_cpu(const HashGridBackward<T>& params, int dims, int features, int threads) {
  if (params.grad_table) NC_GRID_SHAPE(dims, features, (backward_table<T, D, F>(params, threads)));
  if (params.grad_x) NC_GRID_SHAPE(dims, features, (backward_x<T, D, F>(params, threads)));
}

template void hash_grid_forward_cpu(const HashGridForward<float>&, int, int, int);
template void hash_grid_forward_cpu(const HashGridForward<double>&, int, int, int);
template void hash_grid_backward_cpu(const HashGridBackward<float>&, int, int, int);
template void hash_grid_backward_cpu(const HashGridBackward<double>&, int, int, int);

}  // namespace nerfcore
