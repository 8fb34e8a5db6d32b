#pragma once
#include "math/occupancy.h"

namespace nerfcore {

// First pass of an update: every named cell decays once, however often it is named.
template <class T> struct OccupancyDecay {
  const int64_t* cell_index;  // [N]
  const T* density;           // [N]
  T decay;
  uint32_t* decayed;          // [C * G^3 / 32] bit set of the cells that have decayed, zero at first
  T* density_grid;            // [C * G^3] in and out

  NC_HD void operator()(int64_t i) const {
    const int64_t cell = cell_index[i];
    const uint32_t mask = 1u << (cell & 31);
    // The sign of a cell never changes, so a thread that reads it beside a writer decides alike.
    if (!occupancy_counts(density_grid[cell], density[i]) || atomic_or(decayed + (cell >> 5), mask) & mask) return;
    density_grid[cell] *= decay;
  }
};

// Second pass: the larger of the decayed cell and all its new densities.
template <class T> struct OccupancyRaise {
  const int64_t* cell_index;  // [N]
  const T* density;           // [N]
  T* density_grid;            // [C * G^3] in and out

  NC_HD void operator()(int64_t i) const {
    T* cell = density_grid + cell_index[i];
    if (occupancy_counts(*cell, density[i]) && density[i] > T(0)) atomic_max(cell, density[i]);
  }
};

template <class T> struct OccupancyPack {
  const T* density_grid;  // [8 B]
  T threshold;
  uint8_t* bits;          // [B] out

  NC_HD void operator()(int64_t i) const { bits[i] = occupancy_byte(density_grid + 8 * i, threshold); }
};

// Marks the blocks of every cascade that hold the middle of a sample which at least `darkest` of the light reaches.
template <class T> struct OccupancySee {
  const T* origin;             // [R, 3]
  const T* direction;          // [R, 3]
  const int64_t* ray_offsets;  // [R + 1]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  const T* weight;             // [S]
  T darkest;
  int resolution, cascades;    // of the blocks
  bool* seen;                  // [C * resolution^3]; many threads may write the same true

  NC_HD void operator()(int64_t r) const {
    T light = T(1);
    for (int64_t s = ray_offsets[r]; s < ray_offsets[r + 1] && light > darkest; light -= weight[s++]) {
      T x[3];
      for (int d = 0; d < 3; ++d) x[d] = origin[3 * r + d] + T(0.5) * (t_start[s] + t_end[s]) * direction[3 * r + d];
      for (int c = 0; c < cascades; ++c) {
        const int64_t block = occupancy_block(x, c, cascades, resolution);
        if (block >= 0) seen[block] = true;
      }
    }
  }
};

template <class T> void occupancy_decay_cpu(const OccupancyDecay<T>& params, int64_t n, int threads);
template <class T> void occupancy_decay_cuda(const OccupancyDecay<T>& params, int64_t n, void* stream);
template <class T> void occupancy_raise_cpu(const OccupancyRaise<T>& params, int64_t n, int threads);
template <class T> void occupancy_raise_cuda(const OccupancyRaise<T>& params, int64_t n, void* stream);
template <class T> void occupancy_pack_cpu(const OccupancyPack<T>& params, int64_t num_bytes, int threads);
template <class T> void occupancy_pack_cuda(const OccupancyPack<T>& params, int64_t num_bytes, void* stream);
template <class T> void occupancy_see_cpu(const OccupancySee<T>& params, int64_t num_rays, int threads);
template <class T> void occupancy_see_cuda(const OccupancySee<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
