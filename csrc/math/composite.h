// Emission-absorption quadrature along one ray: Max 1995; Mildenhall et al. 2020, equation 3.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// Front to back over the n samples of one ray:
//   T_0 = 1,  w_i = T_i (1 - exp(-sigma_i dt_i)),  T_{i+1} = T_i exp(-sigma_i dt_i),
//   rgb_out = sum w_i rgb_i,  opacity = sum w_i,  distance = sum w_i t_i (t_i the middle of interval i).
// Once T_i < stop_below the ray ends: later samples get weight 0 and `after` 0, which is how the adjoint knows them.
template <class T>
NC_HD void composite_ray(int64_t n, const T* sigma, const T* rgb, const T* t_start, const T* t_end, T stop_below,
                         T* rgb_out, T* opacity, T* distance, T* weight, T* after) {
  T transmittance = T(1), r = T(0), g = T(0), b = T(0), d = T(0), sum = T(0);
  int64_t i = 0;
  for (; i < n && transmittance >= stop_below; ++i) {
    const T optical_depth = sigma[i] * (t_end[i] - t_start[i]);
    const T w = transmittance * -std::expm1(-optical_depth);
    transmittance *= std::exp(-optical_depth);
    weight[i] = w;
    after[i] = transmittance;
    r += w * rgb[3 * i];
    g += w * rgb[3 * i + 1];
    b += w * rgb[3 * i + 2];
    d += w * (T(0.5) * (t_start[i] + t_end[i]));
    sum += w;
  }
  for (; i < n; ++i) weight[i] = after[i] = T(0);
  rgb_out[0] = r;
  rgb_out[1] = g;
  rgb_out[2] = b;
  *opacity = sum;
  *distance = d;
}

// Adjoint, back to front: with v_i = dL/dw_i,  dL/dsigma_i = dt_i (T_{i+1} v_i - sum_{j>i} w_j v_j),  dL/drgb_i = w_i grad_rgb_out.
// Returns the sum for the samples in front of these: `behind` of the part of the ray that lies there, 0 for a whole ray.
template <class T>
NC_HD T composite_ray_backward(int64_t n, const T* rgb, const T* t_start, const T* t_end, const T* weight, const T* after,
                                  const T* grad_rgb_out, T grad_opacity, T grad_distance, const T* grad_weight,
                                  T behind, T* grad_sigma, T* grad_rgb) {
  for (int64_t i = n - 1; i >= 0; --i) {
    const T w = weight[i];
    const T v = grad_rgb_out[0] * rgb[3 * i] + grad_rgb_out[1] * rgb[3 * i + 1] + grad_rgb_out[2] * rgb[3 * i + 2] + grad_opacity +
                grad_distance * (T(0.5) * (t_start[i] + t_end[i])) + (grad_weight ? grad_weight[i] : T(0));
    const bool dead = w == T(0) && after[i] == T(0);
    grad_sigma[i] = dead ? T(0) : (t_end[i] - t_start[i]) * (after[i] * v - behind);
    behind += w * v;
    for (int c = 0; c < 3; ++c) grad_rgb[3 * i + c] = w * grad_rgb_out[c];
  }
  return behind;
}

}  // namespace nerfcore
