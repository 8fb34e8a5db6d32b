#include "kernels/occupancy.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kWordsPerChunk = 256, kCellsPerChunk = 4096, kEntriesAtOnce = 1024, kRaysPerChunk = 128;

template <class T> void occupancy_choose_cpu(const OccupancyChoose<T>& params, int64_t num_words, int threads) {
  for_each_cpu(params, num_words, threads, kWordsPerChunk);
}

template <class T> void occupancy_points_cpu(const OccupancyPoints<T>& params, int64_t num_words, int threads) {
  for_each_cpu(params, num_words, threads, kWordsPerChunk);
}

// Each thread looks after a range of cells, whoever names them: no cell is written by two, and the order of the entries decides.
template <class T> void occupancy_update_cpu(const OccupancyUpdate<T>& p, int64_t n, int64_t num_cells, int threads) {
  const int64_t range = (num_cells + threads - 1) / threads + kCellsPerWord & ~int64_t(kCellsPerWord - 1);  // no word of bits is shared
  parallel_for(num_cells, range, threads, [&](int64_t begin, int64_t end) {
    int64_t mine[kEntriesAtOnce];
    for (int64_t first = 0; first < n; first += kEntriesAtOnce) {
      const int64_t last = min_of(first + kEntriesAtOnce, n);
      int64_t count = 0;
      for (int64_t i = first; i < last; ++i) {  // without a branch, which in random order would be foretold wrongly
        mine[count] = i;
        count += p.cell_index[i] >= begin & p.cell_index[i] < end;
      }
      for (int64_t k = 0; k < count; ++k) {
        const int64_t cell = p.cell_index[mine[k]];
        const T density = p.density[mine[k]];
        if (!occupancy_counts(p.density_grid[cell], density)) continue;
        const uint32_t bit = 1u << (cell & 31), first_visit = ~p.decayed[cell >> 5] & bit;
        p.decayed[cell >> 5] |= bit;
        p.density_grid[cell] = max_of(first_visit ? p.density_grid[cell] * p.decay : p.density_grid[cell], density);
      }
    }
  });
}

template <class T> void occupancy_pack_cpu(const OccupancyPack<T>& params, int64_t num_bytes, int threads) {
  for_each_cpu(params, num_bytes, threads, kCellsPerChunk);
}

template <class T> void occupancy_see_cpu(const OccupancySee<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void occupancy_choose_cpu(const OccupancyChoose<float>&, int64_t, int);
template void occupancy_choose_cpu(const OccupancyChoose<double>&, int64_t, int);
template void occupancy_points_cpu(const OccupancyPoints<float>&, int64_t, int);
template void occupancy_points_cpu(const OccupancyPoints<double>&, int64_t, int);
template void occupancy_update_cpu(const OccupancyUpdate<float>&, int64_t, int64_t, int);
template void occupancy_update_cpu(const OccupancyUpdate<double>&, int64_t, int64_t, int);
template void occupancy_pack_cpu(const OccupancyPack<float>&, int64_t, int);
template void occupancy_pack_cpu(const OccupancyPack<double>&, int64_t, int);
template void occupancy_see_cpu(const OccupancySee<float>&, int64_t, int);
template void occupancy_see_cpu(const OccupancySee<double>&, int64_t, int);

}  // namespace nerfcore
