#pragma once
#include "bindings/common.h"
#include "kernels/hash_grid.h"

namespace nerfcore {

inline GridLevels grid_levels(at::ArrayRef<double> scale, at::IntArrayRef resolution, at::IntArrayRef offset, bool smooth = false) {
  GridLevels levels{};
  levels.count = int(scale.size());
  TORCH_CHECK(levels.count <= kMaxGridLevels, "nerfcore: a hash grid has at most ", kMaxGridLevels, " levels, got ", levels.count);
  for (int l = 0; l < levels.count; ++l) levels.scale[l] = float(scale[l]), levels.resolution[l] = uint32_t(resolution[l]);
  for (int l = 0; l <= levels.count; ++l) levels.offset[l] = uint32_t(offset[l]);
  levels.smooth = smooth;
  return levels;
}

template <class T> GridTable<T> grid_table(const Tensor& table, const Tensor& x) {
  TORCH_CHECK(table.is_cpu() || reinterpret_cast<uintptr_t>(table.const_data_ptr()) % 16 == 0,
              "nerfcore: on a GPU a hash table begins at a multiple of 16 bytes; clone the one that is a part of another tensor");
  return {table.const_data_ptr(), storage_of(table, x)};
}

template <class T> const T* data_or_null(const std::optional<Tensor>& t) { return t ? t->const_data_ptr<T>() : nullptr; }

inline Tensor hash_grid_forward(const Tensor& x, const std::optional<Tensor>& along, const Tensor& table, at::ArrayRef<double> scale,
                                at::IntArrayRef resolution, at::IntArrayRef offset, bool smooth) {
  check_contiguous(x, "x"), check_contiguous(table, "table");
  if (along) check_contiguous(*along, "along");
  const GridLevels levels = grid_levels(scale, resolution, offset, smooth);
  Tensor out = at::empty({x.size(0), levels.count * table.size(1)}, x.options());
  NC_DISPATCH(x, "hash_grid_forward", [&] {
    HashGridForward<scalar_t> p{levels, x.size(0), x.const_data_ptr<scalar_t>(), data_or_null<scalar_t>(along), grid_table<scalar_t>(table, x),
                                out.data_ptr<scalar_t>()};
    NC_LAUNCH(hash_grid_forward, x, p, int(x.size(1)), int(table.size(1)));
  });
  return out;
}

inline std::tuple<Tensor, Tensor> hash_grid_backward(const Tensor& x, const std::optional<Tensor>& along, const Tensor& table, const Tensor& grad_out,
                                                     at::ArrayRef<double> scale, at::IntArrayRef resolution, at::IntArrayRef offset, bool smooth,
                                                     bool wants_x, bool wants_table, bool deterministic) {
  check_contiguous(x, "x"), check_contiguous(table, "table"), check_contiguous(grad_out, "grad_out");
  if (along) check_contiguous(*along, "along");
  Tensor grad_x = wants_x ? at::empty_like(x) : Tensor(), grad_table = wants_table ? at::zeros(table.sizes(), x.options()) : Tensor();
  Tensor scratch;
#ifdef NERFCORE_WITH_CUDA
  if (x.is_cuda() && wants_table && deterministic) {
    TORCH_CHECK(x.size(0) < int64_t(1) << 29, "nerfcore: the deterministic gradient of a hash table takes fewer than 2^29 points, got ", x.size(0));
    const c10::DeviceGuard guard(x.device());
    scratch = at::empty({hash_grid_scratch_bytes_cuda(x.size(0), int(x.size(1)))}, x.options().dtype(at::kByte));
  }
#endif
  NC_DISPATCH(x, "hash_grid_backward", [&] {
    HashGridBackward<scalar_t> p{grid_levels(scale, resolution, offset, smooth), x.size(0), x.const_data_ptr<scalar_t>(), data_or_null<scalar_t>(along),
                                 grid_table<scalar_t>(table, x), grad_out.const_data_ptr<scalar_t>(),
                                 wants_table ? grad_table.data_ptr<scalar_t>() : nullptr, wants_x ? grad_x.data_ptr<scalar_t>() : nullptr,
                                 scratch.defined() ? scratch.data_ptr() : nullptr};
    NC_LAUNCH(hash_grid_backward, x, p, int(x.size(1)), int(table.size(1)));
  });
  return {wants_x ? grad_x : at::empty({0}, x.options()), wants_table ? grad_table : at::empty({0}, x.options())};
}

inline void register_hash_grid(Operations& m) {
  m.def("hash_grid_forward(Tensor x, Tensor? along, Tensor table, float[] scale, int[] resolution, int[] offset, bool smooth) -> Tensor", &hash_grid_forward);
  m.def("hash_grid_backward(Tensor x, Tensor? along, Tensor table, Tensor grad_out, float[] scale, int[] resolution, int[] offset, "
        "bool smooth, bool wants_x, bool wants_table, bool deterministic) -> (Tensor, Tensor)", &hash_grid_backward);
}

}  // namespace nerfcore
