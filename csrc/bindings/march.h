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
  TORCH_CHECK(reinterpret_cast<uintptr_t>(bits.const_data_ptr<uint8_t>()) % 4 == 0, "nerfcore: bits must begin at a multiple of four bytes");
  const int64_t num_rays = origin.size(0);
  Tensor ray_offsets = at::zeros({num_rays + 1}, origin.options().dtype(at::kLong)), blocks, t_start, t_end;
  if (resolution >= kMinBlockedResolution && num_rays) {
    blocks = at::zeros({bits.numel() / (4 * kMarchBlock * kMarchBlock * kMarchBlock)}, bits.options().dtype(at::kInt));
    const MarchBlocks p{bits.const_data_ptr<uint8_t>(), int(resolution), reinterpret_cast<uint32_t*>(blocks.data_ptr<int32_t>())};
    NC_LAUNCH(march_blocks, bits, p, bits.numel());
  }
  NC_DISPATCH(origin, "march_forward", [&] {
    const MarchGrid<scalar_t> grid{reinterpret_cast<const uint32_t*>(bits.const_data_ptr<uint8_t>()),
                                   blocks.defined() ? reinterpret_cast<const uint32_t*>(blocks.const_data_ptr<int32_t>()) : nullptr,
                                   int(resolution), int(cascades), scalar_t(step_min), scalar_t(step_max), scalar_t(cone_angle)};
    const MarchRays<scalar_t> rays{grid, origin.const_data_ptr<scalar_t>(), direction.const_data_ptr<scalar_t>(),
                                   near.const_data_ptr<scalar_t>(), far.const_data_ptr<scalar_t>(),
                                   jitter ? jitter->const_data_ptr<scalar_t>() : nullptr};
    const auto make_room = [&] {
      ray_offsets.cumsum_(0);
      t_start = at::empty({ray_offsets[num_rays].item<int64_t>()}, origin.options());  // the only wait for the device
      t_end = at::empty_like(t_start);
    };
    int64_t *count = ray_offsets.data_ptr<int64_t>() + 1, *offsets = count - 1;
    if (origin.is_cpu()) {
      const auto chunks = march_cpu(rays, num_rays, max_samples_per_ray, count, num_threads());
      make_room();
      march_pack_cpu(chunks, offsets, t_start.data_ptr<scalar_t>(), t_end.data_ptr<scalar_t>(), num_threads());
      return;
    }
#ifdef NERFCORE_WITH_CUDA
    const c10::DeviceGuard guard(origin.device());
    march_count_cuda(MarchCount<scalar_t>{rays, max_samples_per_ray, count}, num_rays, current_stream(origin));
    make_room();
    march_write_cuda(MarchWrite<scalar_t>{rays, offsets, t_start.data_ptr<scalar_t>(), t_end.data_ptr<scalar_t>()}, num_rays, current_stream(origin));
#else
    TORCH_CHECK(false, "nerfcore: these kernels were built without CUDA; tensor is on ", origin.device());
#endif
  });
  return {t_start, t_end, ray_offsets};
}

inline void register_march(torch::Library& m) {
  m.def("march_forward(Tensor origin, Tensor direction, Tensor near, Tensor far, Tensor bits, Tensor? jitter, int resolution, "
        "int cascades, float step_min, float step_max, float cone_angle, int max_samples_per_ray) -> (Tensor, Tensor, Tensor)",
        &march_forward);
}

}  // namespace nerfcore
