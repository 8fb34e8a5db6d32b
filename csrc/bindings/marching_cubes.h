#pragma once
#include "bindings/common.h"
#include "kernels/marching_cubes.h"

namespace nerfcore {

// [0, counts[0], counts[0] + counts[1], ...]
inline Tensor prefix_sum(const Tensor& counts) {
  Tensor offset = at::zeros({counts.numel() + 1}, counts.options());
  Tensor tail = offset.slice(0, 1);
  at::cumsum_out(tail, counts.flatten(), 0);
  return offset;
}

inline std::tuple<Tensor, Tensor> marching_cubes(const Tensor& volume, double iso, const Tensor& table) {
  check_contiguous(volume, "volume"), check_contiguous(table, "table");
  TORCH_CHECK(table.scalar_type() == at::kChar && table.numel() == 256 * kTriangleRow, "nerfcore: table must be int8 [256, 16]");
  const int64_t num_rows = volume.size(0) * volume.size(1);
  VolumeBits bits{volume.size(0), volume.size(1), volume.size(2), nullptr};
  const auto integers = volume.options().dtype(at::kLong);
  Tensor inside = at::empty({num_rows, bits.words()}, integers);
  Tensor num_crossed = at::empty({num_rows, 3}, integers), num_faces = at::empty({num_rows}, integers);
  bits.inside = reinterpret_cast<uint64_t*>(inside.data_ptr<int64_t>());

  NC_DISPATCH(volume, "marching_cubes_classify", [&] {
    ClassifyRows<scalar_t> p{bits, volume.const_data_ptr<scalar_t>(), scalar_t(iso)};
    NC_LAUNCH(classify_rows, volume, p, num_rows);
  });
  const CountRows count{bits, table.const_data_ptr<int8_t>(), num_crossed.data_ptr<int64_t>(), num_faces.data_ptr<int64_t>()};
  NC_LAUNCH(count_rows, volume, count, num_rows);

  const Tensor vertex_offset = prefix_sum(num_crossed), face_offset = prefix_sum(num_faces);
  Tensor vertices = at::empty({vertex_offset[-1].item<int64_t>(), 3}, volume.options());
  Tensor faces = at::empty({face_offset[-1].item<int64_t>(), 3}, integers);
  NC_DISPATCH(volume, "marching_cubes_emit", [&] {
    EmitRows<scalar_t> p{bits, volume.const_data_ptr<scalar_t>(), scalar_t(iso), table.const_data_ptr<int8_t>(),
                         vertex_offset.const_data_ptr<int64_t>(), face_offset.const_data_ptr<int64_t>(),
                         vertices.data_ptr<scalar_t>(), faces.data_ptr<int64_t>()};
    NC_LAUNCH(emit_rows, volume, p, num_rows);
  });
  return {vertices, faces};
}

inline void register_marching_cubes(torch::Library& m) {
  m.def("marching_cubes(Tensor volume, float iso, Tensor table) -> (Tensor, Tensor)", &marching_cubes);
}

}  // namespace nerfcore
