#pragma once
#include "bindings/common.h"
#include "core/buffer.h"
#include "kernels/marching_cubes.h"

namespace nerfcore {

// Counts [n + 1], of which the first is 0, become where each begins. Returns their sum.
inline int64_t prefix_sum(Tensor& counts) {
  counts[0] = 0;
  counts.cumsum_(0);
  return counts[-1].item<int64_t>();
}

// Vertices, faces, and whether the volume is finite (a bool); if it is not, nothing is triangulated.
inline std::tuple<Tensor, Tensor, Tensor> marching_cubes(const Tensor& volume, double iso, const Tensor& table) {
  check_contiguous(volume, "volume"), check_contiguous(table, "table");
  TORCH_CHECK(table.scalar_type() == at::kChar && table.nbytes() == 256 * sizeof(CellCase), "nerfcore: table must be int8 [256, ",
              sizeof(CellCase), "]");
  const int64_t num_rows = volume.size(0) * volume.size(1);
  VolumeBits bits{volume.size(0), volume.size(1), volume.size(2), nullptr};
  const auto integers = volume.options().dtype(at::kLong);
  Tensor inside = at::empty({num_rows, bits.words()}, integers), finite = at::empty({num_rows}, volume.options().dtype(at::kBool));
  Tensor vertex_offset = at::empty({3 * num_rows + 1}, integers), face_offset = at::empty({num_rows + 1}, integers);
  bits.inside = reinterpret_cast<uint64_t*>(inside.data_ptr<int64_t>());
  Tensor vertices = at::empty({0, 3}, volume.options()), faces = at::empty({0, 3}, integers), all_finite;

  NC_DISPATCH(volume, "marching_cubes", [&] {
    std::vector<Buffer<scalar_t>> found(vertex_chunks(bits.nx));
    const ScanRows<scalar_t> scan{bits, volume.const_data_ptr<scalar_t>(), scalar_t(iso), static_cast<const CellCase*>(table.const_data_ptr()),
                                  finite.data_ptr<bool>(), vertex_offset.data_ptr<int64_t>() + 1, face_offset.data_ptr<int64_t>() + 1,
                                  found.data()};
    NC_LAUNCH(scan_rows, volume, scan);
    all_finite = finite.all();
    if (!all_finite.item<bool>()) return;
    vertices = at::empty({prefix_sum(vertex_offset), 3}, volume.options());
    faces = at::empty({prefix_sum(face_offset), 3}, integers);
    const EmitRows<scalar_t> emit{scan, vertex_offset.const_data_ptr<int64_t>(), face_offset.const_data_ptr<int64_t>(),
                                  vertices.data_ptr<scalar_t>(), faces.data_ptr<int64_t>()};
    NC_LAUNCH(emit_rows, volume, emit);
  });
  return {vertices, faces, all_finite};
}

inline void register_marching_cubes(Operations& m) {
  m.def("marching_cubes(Tensor volume, float iso, Tensor table) -> (Tensor, Tensor, Tensor)", &marching_cubes);
}

}  // namespace nerfcore
