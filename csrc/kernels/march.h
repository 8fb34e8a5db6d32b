#pragma once
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

// Blocks that hold an occupied cell, from the bits of the cells: one call for each byte.
struct MarchBlocks {
  const uint8_t* bits;  // [C * G^3 / 8]
  int resolution;       // G >= kMinBlockedResolution
  uint32_t* blocks;     // [C * (G / kMarchBlock)^3 / 32], zero at first

  NC_HD void operator()(int64_t byte) const {
    if (!bits[byte]) return;
    const int64_t g = resolution, b = g / kMarchBlock, cell = 8 * byte;
    const int64_t x = cell % g, y = cell / g % g, slice = cell / (g * g);  // slice = cascade * G + z
    const int64_t block = (slice / kMarchBlock * b + y / kMarchBlock) * b + x / kMarchBlock;
    const uint32_t halves = uint32_t((bits[byte] & 15) != 0) | uint32_t((bits[byte] >> 4) != 0) << 1;
    atomic_or(blocks + (block >> 5), halves << (block & 31));  // block is even: both bits are in one word
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

void march_blocks_cpu(const MarchBlocks& params, int64_t num_bytes, int threads);
void march_blocks_cuda(const MarchBlocks& params, int64_t num_bytes, void* stream);

// ray_offsets [R + 1] out; allocate(S) gives the memory of the samples.
template <class T>
void march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t* ray_offsets,
               const std::function<MarchOut<T>(int64_t)>& allocate, int threads);

template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream);
template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
