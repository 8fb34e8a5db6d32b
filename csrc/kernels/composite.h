#pragma once
#include "math/composite.h"

namespace nerfcore {

template <class T> struct CompositeForward {
  const int64_t* ray_offsets;  // [R + 1]
  const T* sigma;              // [S] per unit length
  const T* rgb;                // [S, 3]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  T stop_below;                // transmittance at which a ray ends
  T* rgb_out;                  // [R, 3] out, before any background
  T* opacity;                  // [R] out
  T* distance;                 // [R] out, sum of w t
  T* weight;                   // [S] out
  T* after;                    // [S] out, transmittance behind the sample; 0 for samples behind the end of the ray
  int64_t num_samples;         // S; what lies behind ray_offsets[R] belongs to no ray

  template <class V = T> NC_HD void ray(int64_t r) const {
    const int64_t s = ray_offsets[r];
    composite_ray<V>(ray_offsets[r + 1] - s, sigma + s, rgb + 3 * s, t_start + s, t_end + s, stop_below, rgb_out + 3 * r, opacity + r,
                  distance + r, weight + s, after + s);
  }
  NC_HD void clear(int64_t s) const { weight[s] = after[s] = T(0); }
};

template <class T> struct CompositeBackward {
  const int64_t* ray_offsets;  // [R + 1]
  const T* rgb;                // [S, 3]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  const T* weight;             // [S] from the forward pass
  const T* after;              // [S] from the forward pass
  const T* grad_rgb_out;       // [R, 3]; it and the next three are null where they are zero
  const T* grad_opacity;       // [R]
  const T* grad_distance;      // [R]
  const T* grad_weight;        // [S]
  T* grad_sigma;               // [S] out
  T* grad_rgb;                 // [S, 3] out
  int64_t num_samples;         // S

  template <class V = T> NC_HD void ray(int64_t r) const {
    const int64_t s = ray_offsets[r];
    const T black[3] = {};
    composite_ray_backward<V>(ray_offsets[r + 1] - s, rgb + 3 * s, t_start + s, t_end + s, weight + s, after + s,
                              grad_rgb_out ? grad_rgb_out + 3 * r : black, grad_opacity ? grad_opacity[r] : T(0),
                              grad_distance ? grad_distance[r] : T(0), grad_weight ? grad_weight + s : nullptr, T(0), grad_sigma + s,
                              grad_rgb + 3 * s);
  }
  NC_HD void clear(int64_t s) const { grad_sigma[s] = grad_rgb[3 * s] = grad_rgb[3 * s + 1] = grad_rgb[3 * s + 2] = T(0); }
};

template <class T> void composite_forward_cpu(const CompositeForward<T>& params, int64_t num_rays, int threads);
template <class T> void composite_forward_cuda(const CompositeForward<T>& params, int64_t num_rays, void* stream);
template <class T> void composite_backward_cpu(const CompositeBackward<T>& params, int64_t num_rays, int threads);
template <class T> void composite_backward_cuda(const CompositeBackward<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
