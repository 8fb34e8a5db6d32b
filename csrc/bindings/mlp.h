#pragma once
#include "bindings/common.h"
#include "kernels/mlp.h"

namespace nerfcore {

// widths = [in, hidden ..., out] from the weights' shapes.
inline std::vector<int> mlp_widths(at::TensorList weights) {
  std::vector<int> widths{int(weights[0].size(0))};
  for (const Tensor& w : weights) check_contiguous(w, "weights"), widths.push_back(int(w.size(1)));
  return widths;
}

inline std::tuple<Tensor, Tensor> mlp_forward(const Tensor& x, at::TensorList weights, int64_t activation, bool keep_hidden) {
  check_contiguous(x, "x");
  TORCH_CHECK(x.is_cpu(), "nerfcore: mlp has no CUDA kernel; use the reference");
  const std::vector<int> widths = mlp_widths(weights);
  Tensor out = at::empty({x.size(0), widths.back()}, x.options()), hidden;
  NC_DISPATCH(x, "mlp_forward", [&] {
    hidden = at::empty({keep_hidden ? mlp_hidden_size<scalar_t>(widths, x.size(0)) : 0}, x.options());
    std::vector<const scalar_t*> w;
    for (const Tensor& t : weights) w.push_back(t.const_data_ptr<scalar_t>());
    mlp_forward_cpu(MlpForward<scalar_t>{widths, w, OutputActivation(activation), x.size(0), x.const_data_ptr<scalar_t>(),
                                         keep_hidden ? hidden.data_ptr<scalar_t>() : nullptr, out.data_ptr<scalar_t>()}, num_threads());
  });
  return {out, hidden};
}

// Returns grad_x (empty where not wanted) and then the gradient of each weight.
inline std::vector<Tensor> mlp_backward(const Tensor& x, at::TensorList weights, const Tensor& hidden, const Tensor& out,
                                        const Tensor& grad_out, int64_t activation, bool wants_x) {
  check_contiguous(x, "x"), check_contiguous(grad_out, "grad_out");
  std::vector<Tensor> grads{wants_x ? at::empty_like(x) : at::empty({0}, x.options())};
  for (const Tensor& w : weights) grads.push_back(at::empty_like(w));
  NC_DISPATCH(x, "mlp_backward", [&] {
    std::vector<const scalar_t*> w;
    std::vector<scalar_t*> grad_w;
    for (const Tensor& t : weights) w.push_back(t.const_data_ptr<scalar_t>());
    for (size_t l = 1; l < grads.size(); ++l) grad_w.push_back(grads[l].data_ptr<scalar_t>());
    mlp_backward_cpu(MlpBackward<scalar_t>{mlp_widths(weights), w, OutputActivation(activation), x.size(0), x.const_data_ptr<scalar_t>(),
                                           hidden.const_data_ptr<scalar_t>(), out.const_data_ptr<scalar_t>(), grad_out.const_data_ptr<scalar_t>(),
                                           wants_x ? grads[0].data_ptr<scalar_t>() : nullptr, grad_w}, num_threads());
  });
  return grads;
}

inline void register_mlp(torch::Library& m) {
  m.def("mlp_forward(Tensor x, Tensor[] weights, int activation, bool keep_hidden) -> (Tensor, Tensor)", &mlp_forward);
  m.def("mlp_backward(Tensor x, Tensor[] weights, Tensor hidden, Tensor out, Tensor grad_out, int activation, bool wants_x) -> Tensor[]",
        &mlp_backward);
}

}  // namespace nerfcore
