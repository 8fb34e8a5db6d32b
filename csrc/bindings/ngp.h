#pragma once
#include "bindings/hash_grid.h"
#include "bindings/march.h"
#include "bindings/mlp.h"
#include "kernels/ngp.h"

namespace nerfcore {

inline std::vector<const float*> float_pointers(at::TensorList tensors) {
  std::vector<const float*> pointers;
  for (const Tensor& t : tensors) pointers.push_back(t.const_data_ptr<float>());
  return pointers;
}

inline NgpField ngp_field(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale, at::IntArrayRef resolution,
                          at::IntArrayRef offset, int64_t sh_degree, double max_log_density) {
  check_contiguous(table, "table");
  TORCH_CHECK(table.is_cpu() && !density.empty(), "nerfcore: the fused field takes tensors on the CPU, and a density network");
  const NgpField field{grid_levels(scale, resolution, offset), grid_table<float>(table, density[0]), int(table.size(1)), mlp_widths(density), mlp_widths(color),
                       float_pointers(density), float_pointers(color), int(sh_degree), float(max_log_density)};
  TORCH_CHECK(field.color_widths.size() > 2 && field.color_widths.back() == 3 &&
                  field.color_widths[0] == field.density_widths.back() + sh_degree * sh_degree,
              "nerfcore: the colour network takes the embedding and sh_degree^2 values, has a hidden layer and gives 3 values");
  return field;
}

inline NgpRays ngp_rays(const Tensor& origin, const Tensor& direction, const std::optional<Tensor>& jitter, const Tensor& bits,
                        const std::vector<Tensor>& blocks, int64_t resolution, int64_t cascades, double step_min, double step_max, double cone_angle, double near, double stop_below,
                        int64_t max_samples) {
  check_contiguous(origin, "origin"), check_contiguous(direction, "direction"), check_contiguous(bits, "bits");
  if (jitter) check_contiguous(*jitter, "jitter");
  return {march_grid<float>(bits, blocks, resolution, cascades, step_min, step_max, cone_angle), origin.size(0), origin.const_data_ptr<float>(),
          direction.const_data_ptr<float>(), jitter ? jitter->const_data_ptr<float>() : nullptr, float(near), float(stop_below),
          max_samples};
}

// Returns the loss, the samples that light reached (t_start, t_end, ray_offsets, weights), and the gradients of `background`, `truth`,
// `density` and `color`; adds to grad_table.
inline std::vector<Tensor> ngp_loss(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale,
                                    at::IntArrayRef resolution, at::IntArrayRef offset, int64_t sh_degree, double max_log_density,
                                    const Tensor& origin, const Tensor& direction, const std::optional<Tensor>& jitter, const Tensor& bits,
                                    int64_t grid_resolution, int64_t cascades, double step_min, double step_max, double cone_angle, double near,
                                    double stop_below, int64_t max_samples, int64_t rays_per_chunk, double full_from, const Tensor& background,
                                    const Tensor& truth, Tensor& grad_table, Tensor& touched) {
  for (const Tensor* t : {&background, &truth, static_cast<const Tensor*>(&grad_table), static_cast<const Tensor*>(&touched)})
    check_contiguous(*t, "ngp_loss input");
  const Tensor loss = at::empty({}, origin.options().dtype(at::kDouble));
  const Tensor ray_offsets = at::empty({origin.size(0) + 1}, origin.options().dtype(at::kLong));
  const std::vector<Tensor> blocks = march_blocks(bits, grid_resolution);
  Tensor t_start, t_end, weight;
  const auto allocate = [&](int64_t num_samples) {
    t_start = at::empty({num_samples}, origin.options());
    t_end = at::empty_like(t_start), weight = at::empty_like(t_start);
    return NgpSamples{t_start.data_ptr<float>(), t_end.data_ptr<float>(), weight.data_ptr<float>()};
  };
  std::vector<Tensor> grads{at::empty_like(background), at::empty_like(truth)};
  std::vector<float*> pointers[2];
  const at::TensorList networks[2] = {density, color};
  for (int n = 0; n < 2; ++n)
    for (const Tensor& w : networks[n]) {
      grads.push_back(at::empty_like(w));
      pointers[n].push_back(grads.back().data_ptr<float>());
    }
  const NgpRays rays = ngp_rays(origin, direction, jitter, bits, blocks, grid_resolution, cascades, step_min, step_max, cone_angle, near, stop_below,
                                max_samples);
  ngp_loss_cpu(NgpLoss{ngp_field(table, density, color, scale, resolution, offset, sh_degree, max_log_density), rays, rays_per_chunk, float(full_from),
                       background.const_data_ptr<float>(), truth.const_data_ptr<float>(), loss.data_ptr<double>(), ray_offsets.data_ptr<int64_t>(),
                       allocate, pointers[0], pointers[1], grads[0].data_ptr<float>(), grads[1].data_ptr<float>(), grad_table.data_ptr<float>(),
                       touched.data_ptr<uint8_t>()}, num_threads());
  std::vector<Tensor> out{loss, t_start, t_end, ray_offsets, weight};
  out.insert(out.end(), grads.begin(), grads.end());
  return out;
}

// Returns rgb [R, 3] without background, opacity [R], distance [R] (weighted sum) and median [R].
inline std::tuple<Tensor, Tensor, Tensor, Tensor> ngp_render(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale,
                                                     at::IntArrayRef resolution, at::IntArrayRef offset, int64_t sh_degree, double max_log_density,
                                                     const Tensor& origin, const Tensor& direction, const Tensor& bits, int64_t grid_resolution,
                                                     int64_t cascades, double step_min, double step_max, double cone_angle, double near,
                                                     double stop_below, int64_t max_samples, double shows) {
  const Tensor rgb = at::empty_like(origin), opacity = at::empty({origin.size(0)}, origin.options()), distance = at::empty_like(opacity);
  const Tensor median = at::empty_like(opacity);
  const std::vector<Tensor> blocks = march_blocks(bits, grid_resolution);
  const NgpRays rays = ngp_rays(origin, direction, std::nullopt, bits, blocks, grid_resolution, cascades, step_min, step_max, cone_angle, near,
                                stop_below, max_samples);
  ngp_render_cpu(NgpRender{ngp_field(table, density, color, scale, resolution, offset, sh_degree, max_log_density), rays, float(shows),
                           rgb.data_ptr<float>(), opacity.data_ptr<float>(), distance.data_ptr<float>(), median.data_ptr<float>()}, num_threads());
  return {rgb, opacity, distance, median};
}

inline Tensor ngp_density_forward(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale,
                                  at::IntArrayRef resolution, at::IntArrayRef offset, int64_t sh_degree, double max_log_density, const Tensor& x) {
  check_contiguous(x, "x");
  const Tensor sigma = at::empty({x.size(0)}, x.options());
  ngp_density_cpu(NgpDensity{ngp_field(table, density, color, scale, resolution, offset, sh_degree, max_log_density), x.size(0),
                             x.const_data_ptr<float>(), sigma.data_ptr<float>()}, num_threads());
  return sigma;
}

inline void register_ngp(Operations& m) {
#define NC_NGP_FIELD "Tensor table, Tensor[] density, Tensor[] color, float[] scale, int[] resolution, int[] offset, int sh_degree, float max_log_density, "
#define NC_NGP_GRID                                                                                                                 \
  "Tensor bits, int grid_resolution, int cascades, float step_min, float step_max, float cone_angle, float near, float stop_below, " \
  "int max_samples, "
  m.def("ngp_loss(" NC_NGP_FIELD "Tensor origin, Tensor direction, Tensor? jitter, " NC_NGP_GRID "int rays_per_chunk, float full_from, Tensor background, Tensor truth, "
        "Tensor(a!) grad_table, Tensor(b!) touched) -> Tensor[]", &ngp_loss);
  m.def("ngp_density(" NC_NGP_FIELD "Tensor x) -> Tensor", &ngp_density_forward);
  m.def("ngp_render(" NC_NGP_FIELD "Tensor origin, Tensor direction, " NC_NGP_GRID "float shows) -> (Tensor, Tensor, Tensor, Tensor)", &ngp_render);
#undef NC_NGP_FIELD
#undef NC_NGP_GRID
}

}  // namespace nerfcore
