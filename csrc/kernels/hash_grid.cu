// A device thread owns a point on as many consecutive levels as fill a 32-byte sector of its row of the output: rows are then read
// and written in whole sectors. Threads side by side have points side by side, and blocks are dealt out group of levels by group of
// levels, so that the second-level cache holds the tables in use. All corners of a cell are asked for before the first is used.
#include "core/launch.cuh"
#include "kernels/hash_grid.h"
#include "kernels/hash_grid_sorted.h"

#include <cub/device/device_radix_sort.cuh>

#include <type_traits>

namespace nerfcore {
namespace {

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kFewRuns = 8;            // of lanes in one cell: then adding them up first costs less than the atomics it saves
constexpr int kEntriesPerWarp = 4;     // of the sorted sum
template <class T, int F> constexpr int kLevelsPerThread = 32 / int(F * sizeof(T)) > 1 ? 32 / int(F * sizeof(T)) : 1;

// BYTES bytes that move in one transaction.
template <int BYTES> struct Word;
template <> struct Word<2> { using type = unsigned short; };
template <> struct Word<4> { using type = unsigned; };
template <> struct Word<8> { using type = uint2; };
template <> struct Word<16> { using type = uint4; };

// N neighbouring numbers, moved in as few transactions as there can be.
template <class S, int N> struct alignas(sizeof(S) * N < 16 ? sizeof(S) * N : 16) Packed {
  static constexpr int kBytes = int(sizeof(S)) * N, kWords = kBytes > 16 ? kBytes / 16 : 1;
  using Piece = typename Word<kBytes / kWords>::type;
  S v[N];

  __device__ static Packed load(const S* p) {
    Packed out;
    for (int k = 0; k < kWords; ++k) reinterpret_cast<Piece*>(&out)[k] = __ldg(reinterpret_cast<const Piece*>(p) + k);
    return out;
  }
  __device__ void store(S* p) const {
    for (int k = 0; k < kWords; ++k) reinterpret_cast<Piece*>(p)[k] = reinterpret_cast<const Piece*>(this)[k];
  }
};

template <class T, int D> struct Point {
  T x[D], along[D] = {};
  bool moves;

  __device__ Point(const T* points, const T* directions, int64_t i) : moves(directions) {
    for (int d = 0; d < D; ++d) x[d] = __ldg(points + i * D + d);
    for (int d = 0; d < D; ++d)
      if (moves) along[d] = __ldg(directions + i * D + d);
  }
};

// A point on one level.
template <class T, int D> struct Cell {
  uint32_t cell[D], size, resolution;
  T fraction[D], tangent[D], scale;
  bool smooth, moves;

  __device__ Cell(const GridLevels& levels, int level, const Point<T, D>& point)
      : size(levels.offset[level + 1] - levels.offset[level]), resolution(levels.resolution[level]), scale(T(levels.scale[level])),
        smooth(levels.smooth), moves(point.moves) {
    grid_cell<T, D>(point.x, scale, cell, fraction);
    for (int d = 0; d < D; ++d) tangent[d] = grid_position_derivative(point.x[d], scale, point.along[d]);
  }
  __device__ uint32_t entry(int c) const { return grid_corner_entry<D>(cell, c, resolution, size, grid_is_hashed<D>(resolution, size)); }
  __device__ T weight(int c) const { return grid_weight<T, D>(fraction, smooth, moves, tangent, c); }
};

template <class T, class S, int D, int F> struct Forward {
  HashGridForward<T> p;
  const S* table;

  __device__ void operator()(int64_t point, int group) const {
    constexpr int kCount = kLevelsPerThread<T, F>;
    if (point >= p.num_points) return;
    T* row = p.out + (point * p.levels.count + group * kCount) * F;
    const int levels = p.levels.count - group * kCount;
    const bool whole = levels >= kCount && p.levels.count * F * sizeof(T) % 16 == 0;
    const Point<T, D> x(p.x, p.along, point);
    Packed<T, kCount * F> sector = {};
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      if (k >= levels) break;
      const int level = group * kCount + k;
      const Cell<T, D> at(p.levels, level, x);
      Packed<S, F> corner[1 << D];
#pragma unroll
      for (int c = 0; c < (1 << D); ++c) corner[c] = Packed<S, F>::load(table + (int64_t(p.levels.offset[level]) + at.entry(c)) * F);
      Packed<T, F> sum = {};
#pragma unroll
      for (int c = 0; c < (1 << D); ++c) {
        const T weight = at.weight(c);
        for (int f = 0; f < F; ++f) sum.v[f] += weight * T(widen(corner[c].v[f]));
      }
      if (!whole) sum.store(row + k * F);
      for (int f = 0; f < F; ++f) sector.v[k * F + f] = sum.v[f];
    }
    if (whole) sector.store(row);
  }
};

// grad_out of a point on the levels of its thread; zero beyond the last point and the last level.
template <class T, int F> struct GradientOfThread {
  static constexpr int kCount = kLevelsPerThread<T, F>;
  Packed<T, kCount * F> sector = {};

  __device__ GradientOfThread(const HashGridBackward<T>& p, int64_t point, int group) {
    const int levels = p.levels.count - group * kCount;
    const T* row = p.grad_out + (point * p.levels.count + group * kCount) * F;
    if (point >= p.num_points) return;
    if (levels >= kCount && reinterpret_cast<uintptr_t>(row) % 16 == 0) {
      sector = Packed<T, kCount * F>::load(row);
      return;
    }
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      for (int f = 0; f < F; ++f)
        if (k < levels) sector.v[k * F + f] = row[k * F + f];
  }
};

// Adds F neighbouring numbers to the table's gradient.
template <class T, int F> __device__ void add_features(T* target, const T* v) {
#if __CUDA_ARCH__ >= 900
  constexpr bool kVector = std::is_same_v<T, float>;
#else
  constexpr bool kVector = false;
#endif
  if constexpr (kVector && F == 2) {
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(target)), "f"(v[0]), "f"(v[1]) : "memory");
  } else if constexpr (kVector && F > 2) {
    for (int k = 0; k < F; k += 4)
      asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(target + k)), "f"(v[k]), "f"(v[k + 1]),
                   "f"(v[k + 2]), "f"(v[k + 3]) : "memory");
  } else {
    for (int f = 0; f < F; ++f) atomicAdd(target + f, v[f]);
  }
}

template <class T, int D, int F> struct BackwardTable {
  HashGridBackward<T> p;

  __device__ void operator()(int64_t point, int group) const {
    constexpr int kCount = kLevelsPerThread<T, F>;
    const Point<T, D> x(p.x, p.along, min_of(point, p.num_points - 1));  // the last warp stays whole; what is too much adds zeros
    const GradientOfThread<T, F> grad(p, point, group);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      const int level = group * kCount + k;
      if (level >= p.levels.count) break;
      const Cell<T, D> at(p.levels, level, x);
      T* table = p.grad_table + int64_t(p.levels.offset[level]) * F;

      // Points side by side are often in one cell: neighbours along a ray, coarse levels.
      bool first = lane == 0;
      for (int d = 0; d < D; ++d) first |= __shfl_up_sync(kWarp, at.cell[d], 1) != at.cell[d];
      const unsigned firsts = __ballot_sync(kWarp, first);
      const bool few = __popc(firsts) <= kFewRuns;
      const unsigned behind = lane == 31 ? 0 : firsts >> (lane + 1);
      bool adds = false;
      for (int f = 0; f < F; ++f) adds |= grad.sector.v[k * F + f] != T(0);
      const int rest = behind ? __ffs(behind) - 1 : 31 - lane;  // lanes of the same run that come behind this one
#pragma unroll
      for (int c = 0; c < (1 << D); ++c) {
        const T weight = at.weight(c);
        T part[F];
        for (int f = 0; f < F; ++f) part[f] = weight * grad.sector.v[k * F + f];
        if (few) {
#pragma unroll
          for (int step = 1; step < 32; step *= 2)
            for (int f = 0; f < F; ++f) {
              const T other = __shfl_down_sync(kWarp, part[f], step);
              if (step <= rest) part[f] += other;
            }
        }
        if (few ? first : adds) add_features<T, F>(table + int64_t(at.entry(c)) * F, part);
      }
    }
  }
};

// A thread owns a point on all levels: no atomics, the same bits at every run.
template <class T, class S, int D, int F> struct BackwardX {
  HashGridBackward<T> p;
  const S* table;

  __device__ void operator()(int64_t point, int) const {
    constexpr int kCount = kLevelsPerThread<T, F>;
    if (point >= p.num_points) return;
    const Point<T, D> x(p.x, p.along, point);
    T grad_x[D] = {};
    for (int group = 0; group * kCount < p.levels.count; ++group) {
      const GradientOfThread<T, F> grad(p, point, group);
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        const int level = group * kCount + k;
        if (level >= p.levels.count) break;
        const Cell<T, D> at(p.levels, level, x);
        T value[1 << D], grad_fraction[D];
#pragma unroll
        for (int c = 0; c < (1 << D); ++c) {
          const auto corner = Packed<S, F>::load(table + (int64_t(p.levels.offset[level]) + at.entry(c)) * F);
          value[c] = T(0);
          for (int f = 0; f < F; ++f) value[c] += grad.sector.v[k * F + f] * T(widen(corner.v[f]));
        }
        grid_weights_backward<T, D>(at.fraction, at.smooth, at.moves, at.tangent, value, grad_fraction);
        for (int d = 0; d < D; ++d) grad_x[d] += grid_position_derivative(x.x[d], at.scale, grad_fraction[d]);
      }
    }
    for (int d = 0; d < D; ++d) p.grad_x[point * D + d] = grad_x[d];
  }
};

template <class Kernel> __global__ void __launch_bounds__(kThreads) for_each_point_kernel(const Kernel kernel) {
  kernel(blockIdx.x * int64_t(kThreads) + threadIdx.x, int(blockIdx.y));
}

// Calls kernel(point, group) for all points and groups; points are rounded up to whole blocks.
template <class Kernel> void for_each_point(const char* what, const Kernel& kernel, int64_t points, int groups, void* stream) {
  if (points == 0) return;
  const dim3 blocks(unsigned((points + kThreads - 1) / kThreads), unsigned(groups));
  for_each_point_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(kernel);
  check_cuda(what, cudaGetLastError());
}

// --- The sum of sorted parts: see kernels/hash_grid_sorted.h. Four lists lie in the scratch memory, then what sorting needs.

struct Scratch {
  uint32_t *entry, *part, *sorted_entry, *sorted_part;
  void* sorting;
  size_t sorting_bytes = 0;

  Scratch(void* memory, int64_t num_parts) {
    uint32_t* lists = static_cast<uint32_t*>(memory);
    const int64_t length = (num_parts + 63) / 64 * 64;  // 256 bytes
    entry = lists, part = lists + length, sorted_entry = lists + 2 * length, sorted_part = lists + 3 * length, sorting = lists + 4 * length;
    list_bytes = 4 * length * int64_t(sizeof(uint32_t));
    check(sort(nullptr, num_parts, 32, nullptr));
  }
  int64_t bytes() const { return list_bytes + int64_t(sorting_bytes); }
  void sort(int64_t num_parts, int bits, void* stream) { check(sort(sorting, num_parts, bits, stream)); }

 private:
  int64_t list_bytes;

  // Stable; with null memory, says how much it needs.
  cudaError_t sort(void* memory, int64_t num_parts, int bits, void* stream) {
    return cub::DeviceRadixSort::SortPairs(memory, sorting_bytes, entry, sorted_entry, part, sorted_part, num_parts, 0, bits,
                                           static_cast<cudaStream_t>(stream));
  }
  static void check(cudaError_t error) { check_cuda("hash_grid_backward, sorting", error); }
};

template <class T, int D, int F> struct ListParts {
  SortedLevel<T, D, F> level;
  uint32_t *entry, *part;
  __device__ void operator()(int64_t point) const { level.list(point, entry, part); }
};

// A warp owns a few entries; each of its lanes first looks up where the parts of one begin.
template <class T, int D, int F> __global__ void __launch_bounds__(kThreads) sum_parts_kernel(SortedLevel<T, D, F> level, const uint32_t* entry, const uint32_t* part) {
  const int lane = threadIdx.x % 32;
  const uint32_t first = (blockIdx.x * kThreads + threadIdx.x) / 32 * kEntriesPerWarp;
  const int64_t begin = first_not_below(entry, level.num_parts(), first + uint32_t(min_of(lane, kEntriesPerWarp)));
  for (int e = 0; e < kEntriesPerWarp && first + e < level.size(); ++e) {
    T sum[F] = {};
    level.add_parts(part, __shfl_sync(kWarp, begin, e), __shfl_sync(kWarp, begin, e + 1), lane, sum);
    for (int step = kSumLanes / 2; step > 0; step /= 2)
      for (int f = 0; f < F; ++f) sum[f] += __shfl_xor_sync(kWarp, sum[f], step);
    T* target = level.p.grad_table + (int64_t(level.p.levels.offset[level.level]) + first + e) * F;
    if (lane == 0)
      for (int f = 0; f < F; ++f) target[f] += sum[f];
  }
}

template <class T, int D, int F> void backward_table_sorted(const HashGridBackward<T>& p, void* stream) {
  Scratch scratch(p.scratch, p.num_points << D);
  for (int l = 0; l < p.levels.count && p.num_points > 0; ++l) {
    const SortedLevel<T, D, F> level{p, l};
    for_each_cuda("hash_grid_backward, listing", ListParts<T, D, F>{level, scratch.entry, scratch.part}, p.num_points, stream);
    scratch.sort(level.num_parts(), bits_below(level.size()), stream);
    const unsigned entries_per_block = kThreads / 32 * kEntriesPerWarp, blocks = (level.size() + entries_per_block - 1) / entries_per_block;
    sum_parts_kernel<T, D, F><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(level, scratch.sorted_entry, scratch.sorted_part);
    check_cuda("hash_grid_backward, sums", cudaGetLastError());
  }
}

template <class T, int F> int groups_of(const GridLevels& levels) { return (levels.count + kLevelsPerThread<T, F> - 1) / kLevelsPerThread<T, F>; }

}  // namespace

int64_t hash_grid_scratch_bytes_cuda(int64_t num_points, int dims) { return Scratch(nullptr, num_points << dims).bytes(); }

template <class T> void hash_grid_forward_cuda(const HashGridForward<T>& p, int dims, int features, void* stream) {
  p.table.visit([&](auto* table) {
    using S = std::remove_cv_t<std::remove_pointer_t<decltype(table)>>;
    NC_GRID_SHAPE(dims, features, (for_each_point("hash_grid_forward", Forward<T, S, D, F>{p, table}, p.num_points, groups_of<T, F>(p.levels), stream)));
  });
}

template <class T> void hash_grid_backward_cuda(const HashGridBackward<T>& p, int dims, int features, void* stream) {
  if (p.grad_table && p.scratch) {
    NC_GRID_SHAPE(dims, features, (backward_table_sorted<T, D, F>(p, stream)));
  } else if (p.grad_table) {
    NC_GRID_SHAPE(dims, features, (for_each_point("hash_grid_backward to table", BackwardTable<T, D, F>{p}, p.num_points, groups_of<T, F>(p.levels), stream)));
  }
  if (p.grad_x)
    p.table.visit([&](auto* table) {
      using S = std::remove_cv_t<std::remove_pointer_t<decltype(table)>>;
      NC_GRID_SHAPE(dims, features, (for_each_point("hash_grid_backward to x", BackwardX<T, S, D, F>{p, table}, p.num_points, 1, stream)));
    });
}

template void hash_grid_forward_cuda(const HashGridForward<float>&, int, int, void*);
template void hash_grid_forward_cuda(const HashGridForward<double>&, int, int, void*);
template void hash_grid_backward_cuda(const HashGridBackward<float>&, int, int, void*);
template void hash_grid_backward_cuda(const HashGridBackward<double>&, int, int, void*);

}  // namespace nerfcore
