#pragma once
#include "math/interlevel.h"

namespace nerfcore {

// The samples of all rays and those that were proposed for them.
template <class T> struct InterlevelRays {
  const int64_t* ray_offsets;       // [R + 1]
  const T* weight;                  // [S]
  const T* t_start;                 // [S]
  const T* t_end;                   // [S]
  const int64_t* proposed_offsets;  // [R + 1]
  const T* proposed;                // [P] weights
  const T* proposed_start;          // [P]
  const T* proposed_end;            // [P]

  NC_HD InterlevelRay<T> ray(int64_t r) const {
    const int64_t s = ray_offsets[r], p = proposed_offsets[r];
    return {ray_offsets[r + 1] - s, proposed_offsets[r + 1] - p, weight + s, t_start + s, t_end + s,
            proposed + p, proposed_start + p, proposed_end + p};
  }
};

template <class T> struct InterlevelForward {
  InterlevelRays<T> rays;
  T* out;  // [R] out

  NC_HD void operator()(int64_t r) const { out[r] = rays.ray(r).loss(); }
};

template <class T> struct InterlevelBackward {
  InterlevelRays<T> rays;
  const T* grad_out;  // [R]
  T* grad_proposed;   // [P] out; zero beforehand, for samples of no ray

  NC_HD void operator()(int64_t r) const { rays.ray(r).backward(grad_out[r], grad_proposed + rays.proposed_offsets[r]); }
};

template <class T> void interlevel_forward_cpu(const InterlevelForward<T>& params, int64_t num_rays, int threads);
template <class T> void interlevel_forward_cuda(const InterlevelForward<T>& params, int64_t num_rays, void* stream);
template <class T> void interlevel_backward_cpu(const InterlevelBackward<T>& params, int64_t num_rays, int threads);
template <class T> void interlevel_backward_cuda(const InterlevelBackward<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
