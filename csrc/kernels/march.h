#pragma once
#include "core/atomic.h"
#include "math/march.h"
#include "math/occupancy.h"

#include <functional>

namespace nerfcore {

template <class T> struct MarchRays {
  MarchGrid<T> grid;
  const T* origin;     // [R, 3]
  const T* direction;  // [R, 3] unit
  const T* near;       // [R]
  const T* far;        // [R]
  const T* jitter;     // [R] in [0, 1), or null for zeros

  NC_HD MarchRay<T> begin(int64_t r) const {
    return march_begin(grid, origin + 3 * r, direction + 3 * r, near[r], far[r], jitter ? jitter[r] : T(0));
  }
};

// Blocks that hold an occupied cell, from the bits of the cells: one call for each pair of blocks along x, which are a byte wide.
struct MarchBlocks {
  const uint8_t* bits;  // [C * G^3 / 8]
  int resolution;       // G >= kMinBlockedResolution
  uint32_t* blocks;     // [C * (G / kMarchBlock)^3 / 32], zero at first

  NC_HD void operator()(int64_t pair) const {
    const int64_t row = resolution / 8, slice = row * resolution, b = resolution / kMarchBlock;  // in bytes; blocks along an axis
    const int64_t x = pair % row, y = pair / row % b, layer = pair / (row * b);
    const uint8_t* byte = bits + layer * kMarchBlock * slice + y * kMarchBlock * row + x;
    uint32_t any = 0;
    for (int64_t z = 0; z < kMarchBlock; ++z)
      for (int64_t line = 0; line < kMarchBlock; ++line) any |= byte[z * slice + line * row];
    const uint32_t halves = uint32_t((any & 15) != 0) | uint32_t((any >> 4) != 0) << 1;
    if (halves) atomic_or(blocks + (pair >> 4), halves << (2 * (pair & 15)));
  }
};

template <class T> struct MarchOut {
  T *t_start, *t_end;  // [S]
};

// A GPU marches twice. First how many samples each ray has.
template <class T> struct MarchCount {
  MarchRays<T> rays;
  int64_t max_samples;  // of one ray
  int64_t* count;       // [R] out

  NC_HD void operator()(int64_t r) const {
    MarchRay<T> ray = rays.begin(r);
    T t_start, t_end;
    int64_t n = 0;
    while (n < max_samples && march_next(rays.grid, &ray, &t_start, &t_end)) ++n;
    count[r] = n;
  }
};

// Then the samples, packed.
template <class T> struct MarchWrite {
  MarchRays<T> rays;
  const int64_t* ray_offsets;  // [R + 1]
  T* t_start;                  // [S] out
  T* t_end;                    // [S] out

  NC_HD void operator()(int64_t r) const {
    MarchRay<T> ray = rays.begin(r);
    for (int64_t s = ray_offsets[r]; s < ray_offsets[r + 1]; ++s) march_next(rays.grid, &ray, t_start + s, t_end + s);
  }
};

void march_blocks_cpu(const MarchBlocks& params, int64_t num_pairs, int threads);
void march_blocks_cuda(const MarchBlocks& params, int64_t num_pairs, void* stream);

// ray_offsets [R + 1] out; allocate(S) gives the memory of the samples.
template <class T>
void march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t* ray_offsets,
               const std::function<MarchOut<T>(int64_t)>& allocate, int threads);

template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream);
template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
