#pragma once
#include "math/intersect.h"

namespace nerfcore {

template <class T> struct IntersectForward {
  const T* origin;     // [R, 3]
  const T* direction;  // [R, 3], need not be unit: t is in units of its length
  const T* box_min;    // [3]
  const T* box_max;    // [3]
  T near, far;         // clip of every ray
  T* t_in;             // [R] out
  T* t_out;            // [R] out, == t_in where the ray misses

  NC_HD void operator()(int64_t r) const {
    intersect_box(origin + 3 * r, direction + 3 * r, box_min, box_max, near, far, t_in + r, t_out + r);
  }
};

template <class T> void intersect_forward_cpu(const IntersectForward<T>& params, int64_t num_rays, int threads);
template <class T> void intersect_forward_cuda(const IntersectForward<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
