// The rows of a block of points are asked for before the first is used, so that the machine fetches many at once. The gradient of the
// values is shared out by the parity of corners: of the 2^D corners of any cell each has another, so that rows of one parity belong to
// one task, every task has one corner of every point, and each row gets its parts in the order of the points, whatever the threads.
#include "kernels/multilinear.h"

#include "core/parallel.h"

#include <type_traits>

namespace nerfcore {
namespace {

constexpr int kPointsAtOnce = 64;
constexpr int64_t kPointsPerTask = 512;
constexpr int64_t kLineBytes = 64;

// W neighbouring channels as one value.
template <class T, int W> struct Piece {
  typedef T Vector __attribute__((vector_size(W * sizeof(T))));
  typedef T Stored __attribute__((vector_size(W * sizeof(T)), aligned(sizeof(T)), may_alias));

  static Vector load(const T* p) { return *reinterpret_cast<const Stored*>(p); }
  static void store(T* p, Vector v) { *reinterpret_cast<Stored*>(p) = v; }
};

// Calls body(piece, k) for pieces, as wide as may be, of the channels from k on.
template <class T, class Body> inline void for_each_piece(int64_t channels, const Body& body) {
  int64_t k = 0;
  for (; k + 8 <= channels; k += 8) body(Piece<T, 8>(), k);
  for (; k + 4 <= channels; k += 4) body(Piece<T, 4>(), k);
  for (; k < channels; ++k) body(Piece<T, 1>(), k);
}

template <int WRITE, class T> inline void prefetch_row(const T* row, int64_t channels) {
  for (int64_t k = 0; k < channels; k += kLineBytes / int64_t(sizeof(T))) __builtin_prefetch(row + k, WRITE);
}

// Calls body(grid, begin, end) for runs of points of one grid, in parallel.
template <class Body> void for_each_run(int64_t num_grids, int64_t num_points, int threads, const Body& body) {
  const int64_t runs = (num_points + kPointsPerTask - 1) / kPointsPerTask;
  parallel_for(num_grids * runs, 1, threads, [&](int64_t task, int64_t) {
    const int64_t begin = task % runs * kPointsPerTask;
    body(task / runs, begin, min_of(begin + kPointsPerTask, num_points));
  });
}

// The corners of a point that are not empty.
template <class T, int D> struct Corners {
  const T* row[1 << D];
  T weight[1 << D];
  int count = 0;
};

template <class T, int D> void forward(const MultilinearForward<T>& p, int threads) {
  const int64_t channels = p.channels, grid_size = corners_of<D>(p.layout) * channels;
  for_each_run(p.num_grids, p.num_points, threads, [&](int64_t grid, int64_t begin, int64_t end) {
    const T* values = p.values + grid * grid_size;
    const int64_t first = grid * p.num_points;
    for (int64_t block = begin; block < end; block += kPointsAtOnce) {
      const int n = int(min_of<int64_t>(kPointsAtOnce, end - block));
      Corners<T, D> corners[kPointsAtOnce];
      for (int i = 0; i < n; ++i) {
        const int64_t at = (first + block + i) * D;
        const CornerCell<T, D> cell(p.layout, p.x + at, p.along ? p.along + at : nullptr);
        for (int c = 0; c < (1 << D); ++c) {
          const int64_t row = cell.row(p.layout, c);
          if (row < 0) continue;
          const int k = corners[i].count++;
          corners[i].row[k] = values + row * channels;
          corners[i].weight[k] = cell.weight(c);
          prefetch_row<0>(corners[i].row[k], channels);
        }
      }
      for (int i = 0; i < n; ++i) {
        const Corners<T, D>& from = corners[i];
        T* out = p.out + (first + block + i) * channels;
        for_each_piece<T>(channels, [&](auto piece, int64_t k) {
          auto sum = decltype(piece.load(out)){};
          for (int c = 0; c < from.count; ++c) sum += from.weight[c] * piece.load(from.row[c] + k);
          piece.store(out + k, sum);
        });
      }
    }
  });
}

template <class T> bool is_zero(const T* p, int64_t n) {
  bool any = false;
  for (int64_t i = 0; i < n; ++i) any |= p[i] != T(0);
  return !any;
}

template <class T, int D> void backward_values(const MultilinearBackward<T>& p, int threads) {
  const int64_t channels = p.channels, grid_rows = corners_of<D>(p.layout);
  parallel_for(p.num_grids << D, 1, threads, [&](int64_t task, int64_t) {
    const int64_t grid = task >> D, first = grid * p.num_points;
    const int parity = int(task & ((1 << D) - 1));
    T* grad_values = p.grad_values + grid * grid_rows * channels;
    uint8_t* touched = p.touched ? p.touched + grid * grid_rows : nullptr;
    int64_t rows[kPointsAtOnce], from[kPointsAtOnce];
    T weights[kPointsAtOnce];
    for (int64_t block = 0; block < p.num_points; block += kPointsAtOnce) {
      const int64_t block_end = min_of(block + kPointsAtOnce, p.num_points);
      int n = 0;
      for (int64_t i = block; i < block_end; ++i) {
        if (is_zero(p.grad_out + (first + i) * channels, channels)) continue;  // of what no light reaches
        const int64_t at = (first + i) * D;
        const CornerCell<T, D> cell(p.layout, p.x + at, p.along ? p.along + at : nullptr);
        const int c = cell.corner_of(parity);
        rows[n] = cell.row(p.layout, c);
        if (rows[n] < 0) continue;
        prefetch_row<1>(grad_values + rows[n] * channels, channels);
        weights[n] = cell.weight(c);
        from[n++] = (first + i) * channels;
      }
      for (int i = 0; i < n; ++i) {
        T* target = grad_values + rows[i] * channels;
        const T* grad_out = p.grad_out + from[i];
        for_each_piece<T>(channels, [&](auto piece, int64_t k) {
          piece.store(target + k, piece.load(target + k) + weights[i] * piece.load(grad_out + k));
        });
        if (touched) touched[rows[i]] = 1;
      }
    }
  });
}

template <class T, int D> void backward_x(const MultilinearBackward<T>& p, int threads) {
  const int64_t channels = p.channels, grid_size = corners_of<D>(p.layout) * channels;
  for_each_run(p.num_grids, p.num_points, threads, [&](int64_t grid, int64_t begin, int64_t end) {
    for (int64_t i = grid * p.num_points + begin; i < grid * p.num_points + end; ++i) {
      const CornerCell<T, D> cell(p.layout, p.x + i * D, p.along ? p.along + i * D : nullptr);
      T value[1 << D];
      for (int c = 0; c < (1 << D); ++c) {
        const int64_t row = cell.row(p.layout, c);
        value[c] = T(0);
        if (row < 0) continue;
        const T* from = p.values + grid * grid_size + row * channels;
        for_each_piece<T>(channels, [&](auto piece, int64_t k) {
          const auto product = piece.load(from + k) * piece.load(p.grad_out + i * channels + k);
          for (size_t lane = 0; lane < sizeof product / sizeof(T); ++lane) value[c] += product[lane];
        });
      }
      cell.position_gradient(p.layout, p.x + i * D, value, p.grad_x + i * D);
    }
  });
}

}  // namespace

template <class T> void multilinear_forward_cpu(const MultilinearForward<T>& params, int dims, int threads) {
  NC_CORNER_DIMS(dims, (forward<T, D>(params, threads)));
}

template <class T> void multilinear_backward_cpu(const MultilinearBackward<T>& params, int dims, int threads) {
  if (params.grad_values) NC_CORNER_DIMS(dims, (backward_values<T, D>(params, threads)));
  if (params.grad_x) NC_CORNER_DIMS(dims, (backward_x<T, D>(params, threads)));
}

template void multilinear_forward_cpu(const MultilinearForward<float>&, int, int);
template void multilinear_forward_cpu(const MultilinearForward<double>&, int, int);
template void multilinear_backward_cpu(const MultilinearBackward<float>&, int, int);
template void multilinear_backward_cpu(const MultilinearBackward<double>&, int, int);

}  // namespace nerfcore
