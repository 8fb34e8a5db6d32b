#pragma once
#include "bindings/common.h"
#include "kernels/spherical_harmonics.h"

namespace nerfcore {

inline Tensor spherical_harmonics_forward(const Tensor& direction, int64_t degree) {
  check_contiguous(direction, "direction");
  const int64_t n = direction.size(0);
  Tensor out = at::empty({n, degree * degree}, direction.options());
  NC_DISPATCH(direction, "spherical_harmonics_forward", [&] {
    const SphericalHarmonicsForward<scalar_t> p{direction.const_data_ptr<scalar_t>(), int(degree), out.data_ptr<scalar_t>()};
    NC_LAUNCH(spherical_harmonics_forward, direction, p, n);
  });
  return out;
}

inline Tensor spherical_harmonics_backward(const Tensor& direction, int64_t degree, const Tensor& grad_out) {
  for (const Tensor* t : {&direction, &grad_out}) check_contiguous(*t, "spherical_harmonics_backward input");
  const int64_t n = direction.size(0);
  Tensor grad_direction = at::empty_like(direction);
  NC_DISPATCH(direction, "spherical_harmonics_backward", [&] {
    const SphericalHarmonicsBackward<scalar_t> p{direction.const_data_ptr<scalar_t>(), int(degree), grad_out.const_data_ptr<scalar_t>(),
                                                 grad_direction.data_ptr<scalar_t>()};
    NC_LAUNCH(spherical_harmonics_backward, direction, p, n);
  });
  return grad_direction;
}

inline void register_spherical_harmonics(torch::Library& m) {
  m.def("spherical_harmonics_forward(Tensor direction, int degree) -> Tensor", &spherical_harmonics_forward);
  m.def("spherical_harmonics_backward(Tensor direction, int degree, Tensor grad_out) -> Tensor", &spherical_harmonics_backward);
}

}  // namespace nerfcore
