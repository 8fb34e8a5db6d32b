#pragma once
#include "bindings/common.h"
#include "kernels/occupancy.h"

namespace nerfcore {

inline void occupancy_update(const Tensor& density_grid, const Tensor& cell_index, const Tensor& density, double decay) {
  for (const Tensor* t : {&density_grid, &cell_index, &density}) check_contiguous(*t, "occupancy_update input");
  const int64_t n = cell_index.size(0);
  Tensor decayed = at::zeros({(density_grid.numel() + 31) / 32}, density_grid.options().dtype(at::kInt));
  NC_DISPATCH(density_grid, "occupancy_update", [&] {
    const OccupancyDecay<scalar_t> first{cell_index.const_data_ptr<int64_t>(), density.const_data_ptr<scalar_t>(), scalar_t(decay),
                                         reinterpret_cast<uint32_t*>(decayed.data_ptr<int32_t>()), density_grid.data_ptr<scalar_t>()};
    NC_LAUNCH(occupancy_decay, density_grid, first, n);
    const OccupancyRaise<scalar_t> second{first.cell_index, first.density, first.density_grid};
    NC_LAUNCH(occupancy_raise, density_grid, second, n);
  });
}

inline Tensor occupancy_pack(const Tensor& density_grid, double threshold) {
  check_contiguous(density_grid, "density_grid");
  const int64_t num_bytes = density_grid.numel() / 8;
  Tensor bits = at::empty({num_bytes}, density_grid.options().dtype(at::kByte));
  NC_DISPATCH(density_grid, "occupancy_pack", [&] {
    const OccupancyPack<scalar_t> p{density_grid.const_data_ptr<scalar_t>(), scalar_t(threshold), bits.data_ptr<uint8_t>()};
    NC_LAUNCH(occupancy_pack, density_grid, p, num_bytes);
  });
  return bits;
}

inline void occupancy_see(const Tensor& seen, const Tensor& origin, const Tensor& direction, const Tensor& t_start, const Tensor& t_end,
                          const Tensor& ray_offsets, const Tensor& weight, double darkest, int64_t resolution, int64_t cascades) {
  for (const Tensor* t : {&seen, &origin, &direction, &t_start, &t_end, &ray_offsets, &weight}) check_contiguous(*t, "occupancy_see input");
  NC_DISPATCH(origin, "occupancy_see", [&] {
    const OccupancySee<scalar_t> p{origin.const_data_ptr<scalar_t>(), direction.const_data_ptr<scalar_t>(), ray_offsets.const_data_ptr<int64_t>(),
                                   t_start.const_data_ptr<scalar_t>(), t_end.const_data_ptr<scalar_t>(), weight.const_data_ptr<scalar_t>(),
                                   scalar_t(darkest), int(resolution), int(cascades), seen.data_ptr<bool>()};
    NC_LAUNCH(occupancy_see, origin, p, origin.size(0));
  });
}

inline void register_occupancy(torch::Library& m) {
  m.def("occupancy_update(Tensor(a!) density_grid, Tensor cell_index, Tensor density, float decay) -> ()", &occupancy_update);
  m.def("occupancy_pack(Tensor density_grid, float threshold) -> Tensor", &occupancy_pack);
  m.def("occupancy_see(Tensor(a!) seen, Tensor origin, Tensor direction, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor weight, "
        "float darkest, int resolution, int cascades) -> ()", &occupancy_see);
}

}  // namespace nerfcore
