// Work is ordered level by level, so that one level's table (2 MB at 2^17 x 4) stays in cache: point-major order falls to a fifth
// of the speed once the whole table exceeds the cache.
#include "kernels/hash_grid.h"

#include "core/parallel.h"
#include "kernels/hash_grid_block.h"

namespace nerfcore {
namespace {

constexpr int64_t kPointsPerTask = 2048;

template <class T, int D, int F> void forward(const HashGridForward<T>& p, int threads) {
  const int num_levels = p.levels.count;
  const int64_t row = int64_t(num_levels) * F, tasks = (p.num_points + kPointsPerTask - 1) / kPointsPerTask;
  parallel_for(num_levels * tasks, 1, threads, [&](int64_t task, int64_t) {
    const int level = int(task / tasks);
    const int64_t begin = task % tasks * kPointsPerTask, end = min_of(begin + kPointsPerTask, p.num_points);
    GridLevel<T, D, F>(p.levels, level).gather(p.table, p.x, begin, end, p.out + level * F, row);
  });
}

// A level's table belongs to one thread: no atomics, a fixed order of additions, the same bits for any thread count.
template <class T, int D, int F> void backward_table(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.levels.count, 1, threads, [&](int64_t task, int64_t) {
    const int level = p.levels.count - 1 - int(task);  // the large levels first: better balance
    GridLevel<T, D, F>(p.levels, level).template scatter<false>(p.grad_out + level * F, row, p.x, 0, p.num_points, p.grad_table, nullptr);
  });
}

template <class T, int D, int F> void backward_x(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.num_points, kPointsPerTask, threads, [&](int64_t begin, int64_t end) {
    for (int l = 0; l < p.levels.count; ++l) {
      const GridLevel<T, D, F> level(p.levels, l);
      const T* table = p.table + int64_t(level.base) * F;
      level.for_each_block(p.x, begin, end, [&](const CornerBlock<T, D>& block, int64_t first, int n) {
        for (int i = 0; i < n; ++i) {
          const T* g = p.grad_out + (first + i) * row + l * F;
          T value[1 << D], fraction[D];
          for (int d = 0; d < D; ++d) fraction[d] = block.fraction[d][i];
          for (int c = 0; c < (1 << D); ++c) {
            const T* feature = table + int64_t(block.entry[c][i]) * F;
            value[c] = T(0);
            for (int f = 0; f < F; ++f) value[c] += g[f] * feature[f];
          }
          grid_position_backward<T, D>(p.x + (first + i) * D, level.scale, fraction, value, p.grad_x + (first + i) * D);
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
