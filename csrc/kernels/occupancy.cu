#include "core/atomic.h"
#include "core/launch.cuh"
#include "kernels/occupancy.h"

namespace nerfcore {

template <class T> void occupancy_choose_cuda(const OccupancyChoose<T>& params, int64_t num_words, void* stream) {
  for_each_cuda("occupancy_choose", params, num_words, stream);
}

template <class T> void occupancy_points_cuda(const OccupancyPoints<T>& params, int64_t num_words, void* stream) {
  for_each_cuda("occupancy_points", params, num_words, stream);
}

namespace {

// First pass: whoever sets the bit of a cell decays it. The sign of a cell never changes, so a thread that reads it beside a writer
// decides alike.
template <class T> struct Decay {
  OccupancyUpdate<T> p;
  int64_t num_cells;
  __device__ void operator()(int64_t i) const {
    const int64_t cell = p.cell_index[i];
    if (cell < 0 || cell >= num_cells) return;
    const uint32_t bit = 1u << (cell & 31);
    if (!occupancy_counts(p.density_grid[cell], p.density[i]) || atomic_or(p.decayed + (cell >> 5), bit) & bit) return;
    p.density_grid[cell] *= p.decay;
  }
};

// Second pass: the larger of the decayed cell and all its new densities.
template <class T> struct Raise {
  OccupancyUpdate<T> p;
  int64_t num_cells;
  __device__ void operator()(int64_t i) const {
    if (p.cell_index[i] < 0 || p.cell_index[i] >= num_cells) return;
    T* cell = p.density_grid + p.cell_index[i];
    if (occupancy_counts(*cell, p.density[i]) && p.density[i] > T(0)) atomic_max(cell, p.density[i]);
  }
};

}  // namespace

template <class T> void occupancy_update_cuda(const OccupancyUpdate<T>& params, int64_t n, int64_t num_cells, void* stream) {
  for_each_cuda("occupancy_decay", Decay<T>{params, num_cells}, n, stream);
  for_each_cuda("occupancy_raise", Raise<T>{params, num_cells}, n, stream);
}

template <class T> void occupancy_pack_cuda(const OccupancyPack<T>& params, int64_t num_bytes, void* stream) {
  for_each_cuda("occupancy_pack", params, num_bytes, stream);
}

template <class T> void occupancy_see_cuda(const OccupancySee<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("occupancy_see", params, num_rays, stream);
}

template void occupancy_choose_cuda(const OccupancyChoose<float>&, int64_t, void*);
template void occupancy_choose_cuda(const OccupancyChoose<double>&, int64_t, void*);
template void occupancy_points_cuda(const OccupancyPoints<float>&, int64_t, void*);
template void occupancy_points_cuda(const OccupancyPoints<double>&, int64_t, void*);
template void occupancy_update_cuda(const OccupancyUpdate<float>&, int64_t, int64_t, void*);
template void occupancy_update_cuda(const OccupancyUpdate<double>&, int64_t, int64_t, void*);
template void occupancy_pack_cuda(const OccupancyPack<float>&, int64_t, void*);
template void occupancy_pack_cuda(const OccupancyPack<double>&, int64_t, void*);
template void occupancy_see_cuda(const OccupancySee<float>&, int64_t, void*);
template void occupancy_see_cuda(const OccupancySee<double>&, int64_t, void*);

}  // namespace nerfcore
