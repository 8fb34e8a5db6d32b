#pragma once
#include "bindings/common.h"
#include "kernels/multilinear.h"

namespace nerfcore {

// values: [B, n_1 ... n_D, C], or [rows, C] where links [n_1 ... n_D] name the rows.
inline CornerLayout corner_layout(const Tensor& x, const Tensor& values, const std::optional<Tensor>& links) {
  const int64_t dims = x.size(2);
  CornerLayout layout{{}, links ? links->const_data_ptr<int32_t>() : nullptr, values.size(0)};
  for (int64_t d = 0; d < dims; ++d) layout.size[d] = links ? links->size(d) : values.size(d + 1);
  return layout;
}

inline void check_multilinear(const Tensor& x, const std::optional<Tensor>& along, const Tensor& values, const std::optional<Tensor>& links) {
  check_contiguous(x, "x"), check_contiguous(values, "values");
  if (along) check_contiguous(*along, "along");
  if (links) check_contiguous(*links, "links");
}

inline Tensor multilinear_forward(const Tensor& x, const std::optional<Tensor>& along, const Tensor& values, const std::optional<Tensor>& links) {
  check_multilinear(x, along, values, links);
  const int64_t channels = values.size(-1);
  Tensor out = at::empty({x.size(0), x.size(1), channels}, x.options());
  NC_DISPATCH(x, "multilinear_forward", [&] {
    MultilinearForward<scalar_t> p{corner_layout(x, values, links), x.size(0), x.size(1), channels, x.const_data_ptr<scalar_t>(),
                                   along ? along->const_data_ptr<scalar_t>() : nullptr, values.const_data_ptr<scalar_t>(), out.data_ptr<scalar_t>()};
    NC_LAUNCH(multilinear_forward, x, p, int(x.size(2)));
  });
  return out;
}

inline std::tuple<Tensor, Tensor> multilinear_backward(const Tensor& x, const std::optional<Tensor>& along, const Tensor& values,
                                                       const std::optional<Tensor>& links, const Tensor& grad_out, bool wants_x, bool wants_values) {
  check_multilinear(x, along, values, links), check_contiguous(grad_out, "grad_out");
  Tensor grad_x = wants_x ? at::empty_like(x) : Tensor(), grad_values = wants_values ? at::zeros_like(values) : Tensor();
  NC_DISPATCH(x, "multilinear_backward", [&] {
    MultilinearBackward<scalar_t> p{corner_layout(x, values, links), x.size(0), x.size(1), values.size(-1), x.const_data_ptr<scalar_t>(),
                                    along ? along->const_data_ptr<scalar_t>() : nullptr, values.const_data_ptr<scalar_t>(),
                                    grad_out.const_data_ptr<scalar_t>(), wants_values ? grad_values.data_ptr<scalar_t>() : nullptr, nullptr,
                                    wants_x ? grad_x.data_ptr<scalar_t>() : nullptr};
    NC_LAUNCH(multilinear_backward, x, p, int(x.size(2)));
  });
  return {wants_x ? grad_x : at::empty({0}, x.options()), wants_values ? grad_values : at::empty({0}, x.options())};
}

// Adds the gradient of the values to grad_values, which has their shape, and marks the rows.
inline void multilinear_touch(const Tensor& x, const std::optional<Tensor>& links, const Tensor& grad_out, Tensor& grad_values, Tensor& touched) {
  check_multilinear(x, std::nullopt, grad_values, links), check_contiguous(grad_out, "grad_out"), check_contiguous(touched, "touched");
  NC_DISPATCH(x, "multilinear_touch", [&] {
    MultilinearBackward<scalar_t> p{corner_layout(x, grad_values, links), x.size(0), x.size(1), grad_values.size(-1), x.const_data_ptr<scalar_t>(),
                                    nullptr, nullptr, grad_out.const_data_ptr<scalar_t>(), grad_values.data_ptr<scalar_t>(),
                                    touched.data_ptr<uint8_t>(), nullptr};
    NC_LAUNCH(multilinear_backward, x, p, int(x.size(2)));
  });
}

inline void register_multilinear(Operations& m) {
  m.def("multilinear_forward(Tensor x, Tensor? along, Tensor values, Tensor? links) -> Tensor", &multilinear_forward);
  m.def("multilinear_backward(Tensor x, Tensor? along, Tensor values, Tensor? links, Tensor grad_out, bool wants_x, bool wants_values) "
        "-> (Tensor, Tensor)", &multilinear_backward);
  m.def("multilinear_touch(Tensor x, Tensor? links, Tensor grad_out, Tensor(a!) grad_values, Tensor(b!) touched) -> ()", &multilinear_touch);
}

}  // namespace nerfcore
