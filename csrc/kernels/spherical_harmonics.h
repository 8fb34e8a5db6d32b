#pragma once
#include "math/spherical_harmonics.h"

namespace nerfcore {

template <class T> struct SphericalHarmonicsForward {
  const T* direction;  // [N, 3]
  int degree;          // 1 to 4
  T* out;              // [N, degree^2] out

  NC_HD void operator()(int64_t i) const { spherical_harmonics_basis(direction + 3 * i, degree, out + degree * degree * i); }
};

template <class T> struct SphericalHarmonicsBackward {
  const T* direction;  // [N, 3]
  int degree;          // 1 to 4
  const T* grad_out;   // [N, degree^2]
  T* grad_direction;   // [N, 3] out

  NC_HD void operator()(int64_t i) const {
    spherical_harmonics_basis_backward(direction + 3 * i, degree, grad_out + degree * degree * i, grad_direction + 3 * i);
  }
};

template <class T> void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<T>& params, int64_t n, int threads);
template <class T> void spherical_harmonics_forward_cuda(const SphericalHarmonicsForward<T>& params, int64_t n, void* stream);
template <class T> void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<T>& params, int64_t n, int threads);
template <class T> void spherical_harmonics_backward_cuda(const SphericalHarmonicsBackward<T>& params, int64_t n, void* stream);

}  // namespace nerfcore
