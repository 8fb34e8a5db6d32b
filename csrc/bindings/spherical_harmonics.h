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

// Gradients of `grad_direction . along` by direction and by grad_out.
inline std::tuple<Tensor, Tensor> spherical_harmonics_backward2(const Tensor& direction, const Tensor& along, int64_t degree, const Tensor& grad_out) {
  for (const Tensor* t : {&direction, &along, &grad_out}) check_contiguous(*t, "spherical_harmonics_backward2 input");
  const int64_t n = direction.size(0);
  Tensor grad_direction = at::empty_like(direction), grad_grad_out = at::empty_like(grad_out);
  NC_DISPATCH(direction, "spherical_harmonics_backward2", [&] {
    const SphericalHarmonicsBackward2<scalar_t> p{direction.const_data_ptr<scalar_t>(), along.const_data_ptr<scalar_t>(), int(degree),
                                                  grad_out.const_data_ptr<scalar_t>(), grad_direction.data_ptr<scalar_t>(),
                                                  grad_grad_out.data_ptr<scalar_t>()};
    NC_LAUNCH(spherical_harmonics_backward2, direction, p, n);
  });
  return {grad_direction, grad_grad_out};
}

inline void register_spherical_harmonics(Operations& m) {
  m.def("spherical_harmonics_forward(Tensor direction, int degree) -> Tensor", &spherical_harmonics_forward);
  m.def("spherical_harmonics_backward(Tensor direction, int degree, Tensor grad_out) -> Tensor", &spherical_harmonics_backward);
  m.def("spherical_harmonics_backward2(Tensor direction, Tensor along, int degree, Tensor grad_out) -> (Tensor, Tensor)",
        &spherical_harmonics_backward2);
}

}  // namespace nerfcore
