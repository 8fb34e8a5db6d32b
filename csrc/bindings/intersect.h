#pragma once
#include "bindings/common.h"
#include "kernels/intersect.h"

namespace nerfcore {

inline std::tuple<Tensor, Tensor> intersect_forward(const Tensor& origin, const Tensor& direction, const Tensor& box_min,
                                                    const Tensor& box_max, double near, double far) {
  for (const Tensor* t : {&origin, &direction, &box_min, &box_max}) check_contiguous(*t, "intersect input");
  const int64_t num_rays = origin.size(0);
  Tensor t_in = at::empty({num_rays}, origin.options()), t_out = at::empty_like(t_in);
  NC_DISPATCH(origin, "intersect_forward", [&] {
    IntersectForward<scalar_t> p{origin.const_data_ptr<scalar_t>(), direction.const_data_ptr<scalar_t>(),
                                 box_min.const_data_ptr<scalar_t>(), box_max.const_data_ptr<scalar_t>(),
                                 scalar_t(near), scalar_t(far), t_in.data_ptr<scalar_t>(), t_out.data_ptr<scalar_t>()};
    NC_LAUNCH(intersect_forward, origin, p, num_rays);
  });
  return {t_in, t_out};
}

inline void register_intersect(Operations& m) {
  m.def("intersect_forward(Tensor origin, Tensor direction, Tensor box_min, Tensor box_max, float near, float far) -> (Tensor, Tensor)",
        &intersect_forward);
}

}  // namespace nerfcore
