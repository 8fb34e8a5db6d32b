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
  int resolution;       // G
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

// Blocks that hold an occupied block, from the bits of these: one call for each.
struct MarchBlocksOfBlocks {
  const uint32_t* blocks;  // [C * b^3 / 32]
  int side;                // b, blocks along an axis
  uint32_t* larger;        // [C * (b / kMarchBlock)^3 / 32], zero at first

  NC_HD void operator()(int64_t i) const {
    const int64_t b = side, n = b / kMarchBlock, x = i % n, y = i / n % n, layer = i / (n * n);
    uint32_t any = 0;
    for (int64_t z = 0; z < kMarchBlock; ++z)
      for (int64_t line = 0; line < kMarchBlock; ++line) {
        const int64_t first = ((layer * kMarchBlock + z) * b + y * kMarchBlock + line) * b + x * kMarchBlock;
        any |= blocks[first >> 5] >> (first & 31) & ((1u << kMarchBlock) - 1);
      }
    if (any) atomic_or(larger + (i >> 5), 1u << (i & 31));
  }
};

template <class T> struct MarchOut {
  T *t_start, *t_end;  // [S]
};

// A GPU marches twice, with intervals of one ray in the lanes of V. First how many samples each ray has.
template <class T> struct MarchCount {
  MarchRays<T> rays;
  int64_t max_samples;  // of one ray
  int64_t* count;       // [R] out

  template <class V> NC_HD void ray(int64_t r) const {
    MarchRay<T> ray = rays.begin(r);
    V t_start, t_end;
    int64_t n = 0;
    while (n < max_samples && ray.t < ray.far) n += count_bits(march_neighbors(rays.grid, &ray, &t_start, &t_end));
    count[r] = min_of(n, max_samples);
  }
};

// Then the samples, packed, of the rays that fit whole into the capacity with all rays in front of them.
template <class T> struct MarchWrite {
  MarchRays<T> rays;
  const int64_t* end;    // [R] running sum of the counts
  int64_t num_rays, capacity;
  int64_t* ray_offsets;  // [R + 1] out
  T* t_start;            // [capacity] out
  T* t_end;              // [capacity] out

  template <class V> NC_HD void ray(int64_t r) const {
    const bool fits = end[r] <= capacity;
    ray_offsets[r + 1] = fits ? end[r] : used();
    if (r == 0) ray_offsets[0] = 0;
    if (!fits) return;
    MarchRay<T> ray = rays.begin(r);
    for (int64_t at = r > 0 ? end[r - 1] : 0; at < end[r];) {
      V start, stop;
      const uint32_t hits = march_neighbors(rays.grid, &ray, &start, &stop);
      Neighbors<V>::store_packed(t_start + at, start, hits, end[r] - at);
      Neighbors<V>::store_packed(t_end + at, stop, hits, end[r] - at);
      at += count_bits(hits);
    }
  }

  // The samples of the rays that fit: the last sum within the capacity.
  NC_HD int64_t used() const {
    int64_t fitting = 0, beyond = num_rays;
    while (fitting < beyond) {
      const int64_t middle = (fitting + beyond) / 2;
      if (end[middle] <= capacity) fitting = middle + 1;
      else beyond = middle;
    }
    return fitting > 0 ? end[fitting - 1] : 0;
  }
};

void march_blocks_cpu(const MarchBlocks& params, int64_t num_pairs, int threads);
void march_blocks_cuda(const MarchBlocks& params, int64_t num_pairs, void* stream);
void march_blocks_of_blocks_cpu(const MarchBlocksOfBlocks& params, int64_t num_blocks, int threads);
void march_blocks_of_blocks_cuda(const MarchBlocksOfBlocks& params, int64_t num_blocks, void* stream);

// ray_offsets [R + 1] out; allocate(S) gives the memory of the samples that fit. Returns how many there were.
template <class T>
int64_t march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t capacity, int64_t* ray_offsets,
                  const std::function<MarchOut<T>(int64_t)>& allocate, int threads);

template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream);
template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
