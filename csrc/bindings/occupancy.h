#pragma once
#include "bindings/common.h"
#include "kernels/occupancy.h"

namespace nerfcore {

// As many cells as are chosen; or `capacity`, of which those that name no cell are -1, and the host never waits for the device.
inline std::tuple<Tensor, Tensor> occupancy_choose(const Tensor& density_grid, const Tensor& threshold, int64_t resolution, int64_t cascades,
                                                   int64_t sweep_start, int64_t sweep_length, int64_t draw_start, int64_t draw_length,
                                                   int64_t seed, std::optional<int64_t> capacity) {
  check_contiguous(density_grid, "density_grid");
  const int64_t cells = density_grid.numel(), words = (cells + kCellsPerWord - 1) / kCellsPerWord;
  int log2_resolution = 0;
  while (int64_t(1) << log2_resolution < resolution) ++log2_resolution;
  const auto options = density_grid.options();
  Tensor chosen = at::empty({words}, options.dtype(at::kInt)), count = at::empty({words}, options.dtype(at::kLong)), cell_index, point;
  uint32_t* bits = reinterpret_cast<uint32_t*>(chosen.data_ptr<int32_t>());
  NC_DISPATCH(density_grid, "occupancy_choose", [&] {
    const OccupancyTurn swept{uint32_t(sweep_start), uint32_t(sweep_start + sweep_length - 1), sweep_length > 0};
    const OccupancyTurn drawn{uint32_t(draw_start), uint32_t(draw_start + draw_length - 1), draw_length > 0};
    const OccupancyChoose<scalar_t> choose{density_grid.const_data_ptr<scalar_t>(), cells, threshold.const_data_ptr<scalar_t>(), swept, drawn, bits,
                                           count.data_ptr<int64_t>()};
    NC_LAUNCH(occupancy_choose, density_grid, choose, words);
    const Tensor end = count.cumsum(0);
    const int64_t n = capacity ? *capacity : words ? end[words - 1].item<int64_t>() : 0;
    cell_index = capacity ? at::full({n}, -1, options.dtype(at::kLong)) : at::empty({n}, options.dtype(at::kLong));
    point = capacity ? at::full({n, 3}, 0.5, options) : at::empty({n, 3}, options);
    const OccupancyPoints<scalar_t> points{bits, end.const_data_ptr<int64_t>(), log2_resolution, int(cascades), uint32_t(seed), n,
                                           cell_index.data_ptr<int64_t>(), point.data_ptr<scalar_t>()};
    NC_LAUNCH(occupancy_points, density_grid, points, words);
  });
  return {cell_index, point};
}

inline void occupancy_update(const Tensor& density_grid, const Tensor& cell_index, const Tensor& density, double decay) {
  for (const Tensor* t : {&density_grid, &cell_index, &density}) check_contiguous(*t, "occupancy_update input");
  const int64_t n = cell_index.size(0);
  Tensor decayed = at::zeros({(density_grid.numel() + 31) / 32}, density_grid.options().dtype(at::kInt));
  NC_DISPATCH(density_grid, "occupancy_update", [&] {
    const OccupancyUpdate<scalar_t> p{cell_index.const_data_ptr<int64_t>(), density.const_data_ptr<scalar_t>(), scalar_t(decay),
                                      reinterpret_cast<uint32_t*>(decayed.data_ptr<int32_t>()), density_grid.data_ptr<scalar_t>()};
    NC_LAUNCH(occupancy_update, density_grid, p, n, density_grid.numel());
  });
}

inline Tensor occupancy_pack(const Tensor& density_grid, const Tensor& threshold) {
  check_contiguous(density_grid, "density_grid");
  const int64_t num_bytes = density_grid.numel() / 8;
  Tensor bits = at::empty({num_bytes}, density_grid.options().dtype(at::kByte));
  NC_DISPATCH(density_grid, "occupancy_pack", [&] {
    const OccupancyPack<scalar_t> p{density_grid.const_data_ptr<scalar_t>(), threshold.const_data_ptr<scalar_t>(), bits.data_ptr<uint8_t>()};
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

inline void register_occupancy(Operations& m) {
  m.def("occupancy_choose(Tensor density_grid, Tensor threshold, int resolution, int cascades, int sweep_start, int sweep_length, "
        "int draw_start, int draw_length, int seed, int? capacity) -> (Tensor, Tensor)", &occupancy_choose);
  m.def("occupancy_update(Tensor(a!) density_grid, Tensor cell_index, Tensor density, float decay) -> ()", &occupancy_update);
  m.def("occupancy_pack(Tensor density_grid, Tensor threshold) -> Tensor", &occupancy_pack);
  m.def("occupancy_see(Tensor(a!) seen, Tensor origin, Tensor direction, Tensor t_start, Tensor t_end, Tensor ray_offsets, Tensor weight, "
        "float darkest, int resolution, int cascades) -> ()", &occupancy_see);
}

}  // namespace nerfcore
