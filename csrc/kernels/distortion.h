#pragma once
#include "math/distortion.h"

namespace nerfcore {

template <class T> struct DistortionForward {
  const int64_t* ray_offsets;  // [R + 1]
  const T* weight;             // [S]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  T* out;                      // [R] out

  NC_HD void operator()(int64_t r) const {
    const int64_t s = ray_offsets[r];
    out[r] = distortion_ray(ray_offsets[r + 1] - s, weight + s, t_start + s, t_end + s);
  }
};

template <class T> struct DistortionBackward {
  const int64_t* ray_offsets;  // [R + 1]
  const T* weight;             // [S]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  const T* grad_out;           // [R]
  T* grad_weight;              // [S] out; zero beforehand, for samples of no ray

  NC_HD void operator()(int64_t r) const {
    const int64_t s = ray_offsets[r];
    distortion_ray_backward(ray_offsets[r + 1] - s, weight + s, t_start + s, t_end + s, grad_out[r], grad_weight + s);
  }
};

template <class T> void distortion_forward_cpu(const DistortionForward<T>& params, int64_t num_rays, int threads);
template <class T> void distortion_forward_cuda(const DistortionForward<T>& params, int64_t num_rays, void* stream);
template <class T> void distortion_backward_cpu(const DistortionBackward<T>& params, int64_t num_rays, int threads);
template <class T> void distortion_backward_cuda(const DistortionBackward<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
