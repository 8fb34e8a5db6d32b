#pragma once
#include "bindings/common.h"
#include "kernels/march.h"

namespace nerfcore {

inline std::tuple<Tensor, Tensor, Tensor> march_forward(
    const Tensor& origin, const Tensor& direction, const Tensor& near, const Tensor& far, const Tensor& bits,
    const std::optional<Tensor>& jitter, int64_t resolution, int64_t cascades, double step_min, double step_max, double cone_angle,
    int64_t max_samples_per_ray) {
  for (const Tensor* t : {&origin, &direction, &near, &far, &bits}) check_contiguous(*t, "march input");
  if (jitter) check_contiguous(*jitter, "jitter");
  TORCH_CHECK(bits.numel() * 8 == cascades * resolution * resolution * resolution, "nerfcore: bits must hold one bit a cell");
  const int64_t num_rays = origin.size(0);
  Tensor first = at::empty_like(near), ray_offsets = at::zeros({num_rays + 1}, origin.options().dtype(at::kLong)), t_start, t_end;
  NC_DISPATCH(origin, "march_forward", [&] {
    const MarchGrid<scalar_t> grid{bits.const_data_ptr<uint8_t>(), int(resolution), int(cascades),
                                   scalar_t(step_min), scalar_t(step_max), scalar_t(cone_angle)};
    const MarchRays<scalar_t> rays{grid, origin.const_data_ptr<scalar_t>(), direction.const_data_ptr<scalar_t>(),
                                   near.const_data_ptr<scalar_t>(), far.const_data_ptr<scalar_t>(),
                                   jitter ? jitter->const_data_ptr<scalar_t>() : nullptr};
    const MarchCount<scalar_t> count{rays, max_samples_per_ray, first.data_ptr<scalar_t>(), ray_offsets.data_ptr<int64_t>() + 1};
    NC_LAUNCH(march_count, origin, count, num_rays);
    ray_offsets.cumsum_(0);
    const int64_t num_samples = ray_offsets[num_rays].item<int64_t>();  // the only wait for the device
    t_start = at::empty({num_samples}, origin.options());
    t_end = at::empty_like(t_start);
    const MarchWrite<scalar_t> write{rays, first.const_data_ptr<scalar_t>(), ray_offsets.const_data_ptr<int64_t>(),
                                     t_start.data_ptr<scalar_t>(), t_end.data_ptr<scalar_t>()};
    NC_LAUNCH(march_write, origin, write, num_rays);
  });
  return {t_start, t_end, ray_offsets};
}

inline void register_march(torch::Library& m) {
  m.def("march_forward(Tensor origin, Tensor direction, Tensor near, Tensor far, Tensor bits, Tensor? jitter, int resolution, "
        "int cascades, float step_min, float step_max, float cone_angle, int max_samples_per_ray) -> (Tensor, Tensor, Tensor)",
        &march_forward);
}

}  // namespace nerfcore
