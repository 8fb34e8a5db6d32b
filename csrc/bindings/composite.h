#pragma once
#include "bindings/common.h"
#include "kernels/composite.h"

namespace nerfcore {

// Samples that belong to no ray are zero in all that is returned for samples. On a GPU the kernel clears them, which alone knows where
// they begin.
template <class Params> void clear_unowned(const Tensor& ray_offsets, const Params& params) {
  if (!ray_offsets.is_cpu()) return;
  for (int64_t s = params.ray_offsets[ray_offsets.size(0) - 1]; s < params.num_samples; ++s) params.clear(s);
}

inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> composite_forward(
    const Tensor& sigma, const Tensor& rgb, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets, double stop_below) {
  for (const Tensor* t : {&sigma, &rgb, &t_start, &t_end, &ray_offsets}) check_contiguous(*t, "composite input");
  const int64_t num_rays = ray_offsets.size(0) - 1;
  Tensor rgb_out = at::empty({num_rays, 3}, sigma.options()), opacity = at::empty({num_rays}, sigma.options());
  Tensor distance = at::empty_like(opacity), weight = at::empty_like(sigma), after = at::empty_like(sigma);
  NC_DISPATCH(sigma, "composite_forward", [&] {
    CompositeForward<scalar_t> p{ray_offsets.const_data_ptr<int64_t>(), sigma.const_data_ptr<scalar_t>(), rgb.const_data_ptr<scalar_t>(),
                                 t_start.const_data_ptr<scalar_t>(), t_end.const_data_ptr<scalar_t>(), scalar_t(stop_below),
                                 rgb_out.data_ptr<scalar_t>(), opacity.data_ptr<scalar_t>(), distance.data_ptr<scalar_t>(),
                                 weight.data_ptr<scalar_t>(), after.data_ptr<scalar_t>(), sigma.size(0)};
    NC_LAUNCH(composite_forward, sigma, p, num_rays);
    clear_unowned(ray_offsets, p);
  });
  return {rgb_out, opacity, distance, weight, after};
}

inline std::tuple<Tensor, Tensor> composite_backward(
    const Tensor& rgb, const Tensor& t_start, const Tensor& t_end, const Tensor& ray_offsets, const Tensor& weight, const Tensor& after,
    const std::optional<Tensor>& grad_rgb_out, const std::optional<Tensor>& grad_opacity, const std::optional<Tensor>& grad_distance,
    const std::optional<Tensor>& grad_weight) {
  for (const Tensor* t : {&rgb, &t_start, &t_end, &ray_offsets, &weight, &after}) check_contiguous(*t, "composite_backward input");
  for (const auto* grad : {&grad_rgb_out, &grad_opacity, &grad_distance, &grad_weight})
    if (*grad) check_contiguous(**grad, "composite_backward gradient");
  const int64_t num_rays = ray_offsets.size(0) - 1;
  Tensor grad_sigma = at::empty_like(weight), grad_rgb = at::empty_like(rgb);
  NC_DISPATCH(rgb, "composite_backward", [&] {
    const auto or_null = [](const std::optional<Tensor>& t) { return t ? t->const_data_ptr<scalar_t>() : nullptr; };
    CompositeBackward<scalar_t> p{ray_offsets.const_data_ptr<int64_t>(), rgb.const_data_ptr<scalar_t>(), t_start.const_data_ptr<scalar_t>(),
                                  t_end.const_data_ptr<scalar_t>(), weight.const_data_ptr<scalar_t>(), after.const_data_ptr<scalar_t>(),
                                  or_null(grad_rgb_out), or_null(grad_opacity), or_null(grad_distance), or_null(grad_weight),
                                  grad_sigma.data_ptr<scalar_t>(), grad_rgb.data_ptr<scalar_t>(), weight.size(0)};
    NC_LAUNCH(composite_backward, rgb, p, num_rays);
    clear_unowned(ray_offsets, p);
  });
  return {grad_sigma, grad_rgb};
}

inline void register_composite(Operations& m) {
  m.def("composite_forward(Tensor sigma, Tensor rgb, Tensor t_start, Tensor t_end, Tensor ray_offsets, float stop_below) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)", &composite_forward);
  m.def("composite_backward(Tensor rgb, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor weight, Tensor after, "
        "Tensor? grad_rgb_out, Tensor? grad_opacity, Tensor? grad_distance, Tensor? grad_weight) -> (Tensor, Tensor)", &composite_backward);
}

}  // namespace nerfcore
