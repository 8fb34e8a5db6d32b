#pragma once
#include "bindings/common.h"
#include "kernels/distortion.h"

namespace nerfcore {

inline Tensor distortion_forward(const Tensor& weight, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets) {
  for (const Tensor* t : {&weight, &t_start, &t_end, &ray_offsets}) check_contiguous(*t, "distortion input");
  const int64_t num_rays = ray_offsets.size(0) - 1;
  Tensor out = at::empty({num_rays}, weight.options());
  NC_DISPATCH(weight, "distortion_forward", [&] {
    const DistortionForward<scalar_t> p{ray_offsets.const_data_ptr<int64_t>(), weight.const_data_ptr<scalar_t>(),
                                        t_start.const_data_ptr<scalar_t>(), t_end.const_data_ptr<scalar_t>(), out.data_ptr<scalar_t>()};
    NC_LAUNCH(distortion_forward, weight, p, num_rays);
  });
  return out;
}

inline Tensor distortion_backward(const Tensor& weight, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets,
                                  const Tensor& grad_out) {
  for (const Tensor* t : {&weight, &t_start, &t_end, &ray_offsets, &grad_out}) check_contiguous(*t, "distortion_backward input");
  Tensor grad_weight = at::zeros_like(weight);
  NC_DISPATCH(weight, "distortion_backward", [&] {
    const DistortionBackward<scalar_t> p{ray_offsets.const_data_ptr<int64_t>(), weight.const_data_ptr<scalar_t>(),
                                         t_start.const_data_ptr<scalar_t>(), t_end.const_data_ptr<scalar_t>(),
                                         grad_out.const_data_ptr<scalar_t>(), grad_weight.data_ptr<scalar_t>()};
    NC_LAUNCH(distortion_backward, weight, p, ray_offsets.size(0) - 1);
  });
  return grad_weight;
}

inline void register_distortion(Operations& m) {
  m.def("distortion_forward(Tensor weight, Tensor t_start, Tensor t_end, Tensor ray_offsets) -> Tensor", &distortion_forward);
  m.def("distortion_backward(Tensor weight, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor grad_out) -> Tensor",
        &distortion_backward);
}

}  // namespace nerfcore
