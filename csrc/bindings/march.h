#pragma once
#include "bindings/common.h"
#include "kernels/march.h"

#include <limits>

namespace nerfcore {

// Bits of the blocks of each level, as many as a grid of this resolution has.
inline std::vector<Tensor> march_blocks(const Tensor& bits, int64_t resolution) {
  constexpr int64_t kCells = kMarchBlock * kMarchBlock * kMarchBlock;
  const auto words = [](const Tensor& t) { return reinterpret_cast<uint32_t*>(t.data_ptr<int32_t>()); };
  std::vector<Tensor> blocks;
  if (!march_has_blocks(int(resolution), 0)) return blocks;
  blocks.push_back(at::zeros({bits.numel() / (4 * kCells)}, bits.options().dtype(at::kInt)));
  NC_LAUNCH(march_blocks, bits, (MarchBlocks{bits.const_data_ptr<uint8_t>(), int(resolution), words(blocks[0])}),
            bits.numel() / (kMarchBlock * kMarchBlock));
  if (!march_has_blocks(int(resolution), 1)) return blocks;
  blocks.push_back(at::zeros({blocks[0].numel() / kCells}, blocks[0].options()));
  NC_LAUNCH(march_blocks_of_blocks, bits, (MarchBlocksOfBlocks{words(blocks[0]), int(resolution / kMarchBlock), words(blocks[1])}),
            32 * blocks[1].numel());
  return blocks;
}

template <class T>
MarchGrid<T> march_grid(const Tensor& bits, const std::vector<Tensor>& blocks, int64_t resolution, int64_t cascades, double step_min,
                        double step_max, double cone_angle) {
  TORCH_CHECK(bits.numel() * 8 == cascades * resolution * resolution * resolution, "nerfcore: bits must hold one bit a cell");
  TORCH_CHECK(reinterpret_cast<uintptr_t>(bits.const_data_ptr<uint8_t>()) % 4 == 0, "nerfcore: bits must begin at a multiple of four bytes");
  MarchGrid<T> grid{reinterpret_cast<const uint32_t*>(bits.const_data_ptr<uint8_t>()), {}, int(resolution), int(cascades),
                    T(step_min), T(step_max), T(cone_angle)};
  for (size_t level = 0; level < blocks.size(); ++level) grid.blocks[level] = reinterpret_cast<const uint32_t*>(blocks[level].const_data_ptr<int32_t>());
  return grid;
}

// Returns t_start, t_end [S], ray_offsets, and the number of samples found. S is this number; or `capacity`, of which the rays that do
// not fit whole get nothing, the samples behind ray_offsets[R] are zero, and the host never waits for the device.
inline std::tuple<Tensor, Tensor, Tensor, Tensor> march_forward(
    const Tensor& origin, const Tensor& direction, const Tensor& near, const Tensor& far, const Tensor& bits,
    const std::optional<Tensor>& jitter, int64_t resolution, int64_t cascades, double step_min, double step_max, double cone_angle,
    int64_t max_samples_per_ray, std::optional<int64_t> capacity) {
  for (const Tensor* t : {&origin, &direction, &near, &far, &bits}) check_contiguous(*t, "march input");
  if (jitter) check_contiguous(*jitter, "jitter");
  const int64_t num_rays = origin.size(0);
  const std::vector<Tensor> blocks = march_blocks(bits, resolution);
  const auto integers = origin.options().dtype(at::kLong);
  Tensor ray_offsets = at::zeros({num_rays + 1}, integers), found = at::zeros({}, integers), t_start, t_end;
  NC_DISPATCH(origin, "march_forward", [&] {
    const auto grid = march_grid<scalar_t>(bits, blocks, resolution, cascades, step_min, step_max, cone_angle);
    const MarchRays<scalar_t> rays{grid, origin.const_data_ptr<scalar_t>(), direction.const_data_ptr<scalar_t>(),
                                   near.const_data_ptr<scalar_t>(), far.const_data_ptr<scalar_t>(),
                                   jitter ? jitter->const_data_ptr<scalar_t>() : nullptr};
    const auto allocate = [&](int64_t num_samples) {
      t_start = capacity ? at::zeros({*capacity}, origin.options()) : at::empty({num_samples}, origin.options());
      t_end = capacity ? at::zeros_like(t_start) : at::empty_like(t_start);
      return MarchOut<scalar_t>{t_start.data_ptr<scalar_t>(), t_end.data_ptr<scalar_t>()};
    };
    int64_t* offsets = ray_offsets.data_ptr<int64_t>();
    const int64_t room = capacity.value_or(std::numeric_limits<int64_t>::max());
    if (origin.is_cpu()) {
      found.fill_(march_cpu<scalar_t>(rays, num_rays, max_samples_per_ray, room, offsets, allocate, num_threads()));
      return;
    }
#ifdef NERFCORE_WITH_CUDA
    const c10::DeviceGuard guard(origin.device());
    Tensor end = at::empty({num_rays}, integers);
    march_count_cuda(MarchCount<scalar_t>{rays, max_samples_per_ray, end.data_ptr<int64_t>()}, num_rays, current_stream(origin));
    if (num_rays) end.cumsum_(0), found.copy_(end[num_rays - 1]);
    const MarchOut<scalar_t> out = allocate(capacity ? *capacity : found.item<int64_t>());  // the only wait for the device
    march_write_cuda(MarchWrite<scalar_t>{rays, end.const_data_ptr<int64_t>(), num_rays, room, offsets, out.t_start, out.t_end}, num_rays,
                     current_stream(origin));
#else
    TORCH_CHECK(false, "nerfcore: these kernels were built without CUDA; tensor is on ", origin.device());
#endif
  });
  return {t_start, t_end, ray_offsets, found};
}

inline void register_march(Operations& m) {
  m.def("march_forward(Tensor origin, Tensor direction, Tensor near, Tensor far, Tensor bits, Tensor? jitter, int resolution, "
        "int cascades, float step_min, float step_max, float cone_angle, int max_samples_per_ray, int? capacity) "
        "-> (Tensor, Tensor, Tensor, Tensor)", &march_forward);
}

}  // namespace nerfcore
