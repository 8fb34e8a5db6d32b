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
    const GridLevel<T, D, F> grid(p.levels, level, p.along);
    p.table.visit([&](auto* table) { grid.gather(table, p.x, begin, end, p.out + level * F, row); });
  });
}

// A level's table belongs to one thread: no atomics, a fixed order of additions, the same bits for any thread count.
template <class T, int D, int F> void backward_table(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.levels.count, 1, threads, [&](int64_t task, int64_t) {
    const int level = p.levels.count - 1 - int(task);  // the large levels first: better balance
    const GridLevel<T, D, F> grid(p.levels, level, p.along);
    grid.template scatter<false>(p.grad_out + level * F, row, p.x, 0, p.num_points, p.grad_table, nullptr);
  });
}

template <class T, int D, int F> void backward_x(const HashGridBackward<T>& p, int threads) {
  const int64_t row = int64_t(p.levels.count) * F;
  parallel_for(p.num_points, kPointsPerTask, threads, [&](int64_t begin, int64_t end) {
    T grad_x[D][kPointsPerTask] = {};
    for (int l = 0; l < p.levels.count; ++l) {
      const GridLevel<T, D, F> grid(p.levels, l, p.along);
      p.table.visit([&](auto* table) { grid.slope(table, p.grad_out + l * F, row, p.x, begin, end, grad_x); });
    }
    for (int64_t i = begin; i < end; ++i)
      for (int d = 0; d < D; ++d) p.grad_x[i * D + d] = grad_x[d][i - begin];
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
