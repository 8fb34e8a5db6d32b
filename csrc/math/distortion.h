// How far apart the weights of a ray lie: the distortion of Barron et al. 2022, equation 15,
//   sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 (end_i - start_i),  m the middles of the intervals,
// in one pass each way: the spread sum_{j<i} w_j (m_i - m_j) grows from sample to sample by the weight in front times the way
// between them. Only positive terms are added.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// sum_j w_j |m - m_j| over the samples passed so far, in either direction.
template <class T> struct Spread {
  T weight = T(0), middle = T(0), value = T(0);

  NC_HD T to(T next) {
    value += weight * (next > middle ? next - middle : middle - next);
    middle = next;
    return value;
  }
};

template <class T> NC_HD T distortion_ray(int64_t n, const T* weight, const T* t_start, const T* t_end) {
  T sum = T(0);
  Spread<T> spread;
  for (int64_t i = 0; i < n; ++i) {
    const T w = weight[i], start = t_start[i], end = t_end[i];
    sum += w * (T(2) * spread.to(T(0.5) * (start + end)) + w * (end - start) / T(3));
    spread.weight += w;
  }
  return sum;
}

// Adjoint: dL/dw_i = grad (2 sum_j w_j |m_i - m_j| + 2/3 w_i (end_i - start_i)), of which what lies in front of i, then what behind.
template <class T>
NC_HD void distortion_ray_backward(int64_t n, const T* weight, const T* t_start, const T* t_end, T grad, T* grad_weight) {
  Spread<T> front, behind;
  for (int64_t i = 0; i < n; ++i) {
    const T w = weight[i], start = t_start[i], end = t_end[i];
    grad_weight[i] = T(2) * grad * (front.to(T(0.5) * (start + end)) + w * (end - start) / T(3));
    front.weight += w;
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    grad_weight[i] += T(2) * grad * behind.to(T(0.5) * (t_start[i] + t_end[i]));
    behind.weight += weight[i];
  }
}

}  // namespace nerfcore
