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

// Derivative of the backward pass, where grad_direction . along is what counts.
template <class T> struct SphericalHarmonicsBackward2 {
  const T* direction;    // [N, 3]
  const T* along;        // [N, 3]
  int degree;            // 1 to 4
  const T* grad_out;     // [N, degree^2]
  T* grad_direction;     // [N, 3] out
  T* grad_grad_out;      // [N, degree^2] out

  NC_HD void operator()(int64_t i) const {
    const int size = degree * degree;
    Dual<T> d[3], basis[16] = {}, g[16], grad[3];
    for (int a = 0; a < 3; ++a) d[a] = {direction[3 * i + a], along[3 * i + a]};
    for (int c = 0; c < 16; ++c) g[c] = {c < size ? grad_out[size * i + c] : T(0), T(0)};
    spherical_harmonics_basis(d, degree, basis);
    spherical_harmonics_basis_backward(d, degree, g, grad);
    for (int c = 0; c < 16; ++c)
      if (c < size) grad_grad_out[size * i + c] = basis[c].slope;
    for (int a = 0; a < 3; ++a) grad_direction[3 * i + a] = grad[a].slope;
  }
};

template <class T> void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<T>& params, int64_t n, int threads);
template <class T> void spherical_harmonics_forward_cuda(const SphericalHarmonicsForward<T>& params, int64_t n, void* stream);
template <class T> void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<T>& params, int64_t n, int threads);
template <class T> void spherical_harmonics_backward_cuda(const SphericalHarmonicsBackward<T>& params, int64_t n, void* stream);
template <class T> void spherical_harmonics_backward2_cpu(const SphericalHarmonicsBackward2<T>& params, int64_t n, int threads);
template <class T> void spherical_harmonics_backward2_cuda(const SphericalHarmonicsBackward2<T>& params, int64_t n, void* stream);

}  // namespace nerfcore
