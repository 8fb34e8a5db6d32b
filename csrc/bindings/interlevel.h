#pragma once
#include "bindings/common.h"
#include "kernels/interlevel.h"

namespace nerfcore {

template <class T>
InterlevelRays<T> interlevel_rays(const Tensor& weight, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets,
                                  const Tensor& proposed, const Tensor& proposed_start, const Tensor& proposed_end,
                                  const Tensor& proposed_offsets) {
  for (const Tensor* t : {&weight, &t_start, &t_end, &ray_offsets, &proposed, &proposed_start, &proposed_end, &proposed_offsets})
    check_contiguous(*t, "interlevel input");
  return {ray_offsets.const_data_ptr<int64_t>(), weight.const_data_ptr<T>(), t_start.const_data_ptr<T>(), t_end.const_data_ptr<T>(),
          proposed_offsets.const_data_ptr<int64_t>(), proposed.const_data_ptr<T>(), proposed_start.const_data_ptr<T>(),
          proposed_end.const_data_ptr<T>()};
}

inline Tensor interlevel_forward(const Tensor& weight, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets,
                                 const Tensor& proposed, const Tensor& proposed_start, const Tensor& proposed_end,
                                 const Tensor& proposed_offsets) {
  const int64_t num_rays = ray_offsets.size(0) - 1;
  Tensor out = at::empty({num_rays}, weight.options());
  NC_DISPATCH(weight, "interlevel_forward", [&] {
    const InterlevelForward<scalar_t> p{interlevel_rays<scalar_t>(weight, t_start, t_end, ray_offsets, proposed, proposed_start,
                                                                  proposed_end, proposed_offsets), out.data_ptr<scalar_t>()};
    NC_LAUNCH(interlevel_forward, weight, p, num_rays);
  });
  return out;
}

inline Tensor interlevel_backward(const Tensor& weight, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets,
                                  const Tensor& proposed, const Tensor& proposed_start, const Tensor& proposed_end,
                                  const Tensor& proposed_offsets, const Tensor& grad_out) {
  check_contiguous(grad_out, "interlevel gradient");
  Tensor grad_proposed = at::zeros_like(proposed);
  NC_DISPATCH(weight, "interlevel_backward", [&] {
    const InterlevelBackward<scalar_t> p{interlevel_rays<scalar_t>(weight, t_start, t_end, ray_offsets, proposed, proposed_start,
                                                                   proposed_end, proposed_offsets),
                                         grad_out.const_data_ptr<scalar_t>(), grad_proposed.data_ptr<scalar_t>()};
    NC_LAUNCH(interlevel_backward, weight, p, ray_offsets.size(0) - 1);
  });
  return grad_proposed;
}

inline void register_interlevel(Operations& m) {
  m.def("interlevel_forward(Tensor weight, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor proposed, Tensor proposed_start, "
        "Tensor proposed_end, Tensor proposed_offsets) -> Tensor", &interlevel_forward);
  m.def("interlevel_backward(Tensor weight, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor proposed, Tensor proposed_start, "
        "Tensor proposed_end, Tensor proposed_offsets, Tensor grad_out) -> Tensor", &interlevel_backward);
}

}  // namespace nerfcore
