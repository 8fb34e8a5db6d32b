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
  TORCH_CHECK(table.is_cpu() && table.scalar_type() == at::kFloat, "nerfcore: the fused field takes float32 tensors on the CPU");
  const NgpField field{grid_levels(scale, resolution, offset), table.const_data_ptr<float>(), int(table.size(1)), mlp_widths(density), mlp_widths(color),
                       float_pointers(density), float_pointers(color), int(sh_degree), float(max_log_density)};
  TORCH_CHECK(field.color_widths.size() > 2 && field.color_widths.back() == 3 &&
                  field.color_widths[0] == field.density_widths.back() + sh_degree * sh_degree,
              "nerfcore: the colour network takes the embedding and sh_degree^2 values, has a hidden layer and gives 3 values");
  return field;
}

// Returns the loss, the weights of the samples, and the gradients of `density` and of `color`; adds to grad_table.
inline std::vector<Tensor> ngp_loss(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale,
                                    at::IntArrayRef resolution, at::IntArrayRef offset, int64_t sh_degree, double max_log_density,
                                    const Tensor& origin, const Tensor& direction, const Tensor& t_start, const Tensor& t_end,
                                    const Tensor& ray_offsets, double stop_below, const Tensor& background, const Tensor& truth,
                                    Tensor& grad_table, Tensor& touched) {
  for (const Tensor* t : {&origin, &direction, &t_start, &t_end, &ray_offsets, &background, &truth, static_cast<const Tensor*>(&grad_table),
                          static_cast<const Tensor*>(&touched)})
    check_contiguous(*t, "ngp_loss input");
  const Tensor loss = at::empty({}, table.options().dtype(at::kDouble)), weight = at::empty_like(t_start);
  std::vector<Tensor> out{loss, weight};
  std::vector<float*> grads[2];
  const at::TensorList networks[2] = {density, color};
  for (int n = 0; n < 2; ++n)
    for (const Tensor& w : networks[n]) {
      out.push_back(at::empty_like(w));
      grads[n].push_back(out.back().data_ptr<float>());
    }
  const NgpRays rays{origin.size(0), origin.const_data_ptr<float>(), direction.const_data_ptr<float>(), ray_offsets.const_data_ptr<int64_t>(),
                     t_start.const_data_ptr<float>(), t_end.const_data_ptr<float>(), float(stop_below)};
  ngp_loss_cpu(NgpLoss{ngp_field(table, density, color, scale, resolution, offset, sh_degree, max_log_density), rays,
                       background.const_data_ptr<float>(), truth.const_data_ptr<float>(), loss.data_ptr<double>(), weight.data_ptr<float>(),
                       grads[0], grads[1], grad_table.data_ptr<float>(), touched.data_ptr<uint8_t>()}, num_threads());
  return out;
}

// Returns rgb [R, 3] without background, opacity [R] and distance [R] (weighted sum).
inline std::tuple<Tensor, Tensor, Tensor> ngp_render(const Tensor& table, at::TensorList density, at::TensorList color, at::ArrayRef<double> scale,
                                                     at::IntArrayRef resolution, at::IntArrayRef offset, int64_t sh_degree, double max_log_density,
                                                     const Tensor& origin, const Tensor& direction, const Tensor& bits, int64_t grid_resolution,
                                                     int64_t cascades, double step_min, double step_max, double cone_angle, double near,
                                                     double stop_below, double shows, int64_t max_samples) {
  check_contiguous(origin, "origin"), check_contiguous(direction, "direction"), check_contiguous(bits, "bits");
  const Tensor rgb = at::empty_like(origin), opacity = at::empty({origin.size(0)}, origin.options()), distance = at::empty_like(opacity);
  const Tensor blocks = march_blocks(bits, grid_resolution);
  ngp_render_cpu(NgpRender{ngp_field(table, density, color, scale, resolution, offset, sh_degree, max_log_density),
                           march_grid<float>(bits, blocks, grid_resolution, cascades, step_min, step_max, cone_angle), origin.size(0),
                           origin.const_data_ptr<float>(), direction.const_data_ptr<float>(), float(near), float(stop_below), float(shows),
                           (max_samples + kRenderRound - 1) / kRenderRound * kRenderRound, rgb.data_ptr<float>(), opacity.data_ptr<float>(), distance.data_ptr<float>()}, num_threads());
  return {rgb, opacity, distance};
}

inline void register_ngp(torch::Library& m) {
  m.def("ngp_render(Tensor table, Tensor[] density, Tensor[] color, float[] scale, int[] resolution, int[] offset, int sh_degree, "
        "float max_log_density, Tensor origin, Tensor direction, Tensor bits, int grid_resolution, int cascades, float step_min, float step_max, "
        "float cone_angle, float near, float stop_below, float shows, int max_samples) -> (Tensor, Tensor, Tensor)", &ngp_render);
  m.def("ngp_loss(Tensor table, Tensor[] density, Tensor[] color, float[] scale, int[] resolution, int[] offset, int sh_degree, "
        "float max_log_density, Tensor origin, Tensor direction, Tensor t_start, Tensor t_end, Tensor ray_offsets, float stop_below, "
        "Tensor background, Tensor truth, Tensor(a!) grad_table, Tensor(b!) touched) -> Tensor[]", &ngp_loss);
}

}  // namespace nerfcore
