#pragma once
#include "math/march.h"

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

// First pass: how many samples each ray has, and where they begin, so that the second pass starts there.
template <class T> struct MarchCount {
  MarchRays<T> rays;
  int64_t max_samples;  // of one ray
  T* first;             // [R] out, start of the first sample; untouched without samples
  int64_t* count;       // [R] out

  NC_HD void operator()(int64_t r) const {
    MarchRay<T> ray = rays.begin(r);
    T t_start, t_end;
    int64_t n = 0;
    for (; n < max_samples && march_next(rays.grid, &ray, &t_start, &t_end); ++n)
      if (n == 0) first[r] = t_start;
    count[r] = n;
  }
};

// Second pass: the samples, packed.
template <class T> struct MarchWrite {
  MarchRays<T> rays;
  const T* first;              // [R] from the first pass
  const int64_t* ray_offsets;  // [R + 1]
  T* t_start;                  // [S] out
  T* t_end;                    // [S] out

  NC_HD void operator()(int64_t r) const {
    const int64_t begin = ray_offsets[r], end = ray_offsets[r + 1];
    if (begin == end) return;
    MarchRay<T> ray = rays.begin(r);
    march_resume(rays.grid, &ray, first[r]);
    for (int64_t s = begin; s < end; ++s) march_next(rays.grid, &ray, t_start + s, t_end + s);
  }
};

template <class T> void march_count_cpu(const MarchCount<T>& params, int64_t num_rays, int threads);
template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream);
template <class T> void march_write_cpu(const MarchWrite<T>& params, int64_t num_rays, int threads);
template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
