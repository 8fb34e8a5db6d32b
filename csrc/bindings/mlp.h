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

template <class T> std::vector<const T*> mlp_pointers(at::TensorList weights) {
  std::vector<const T*> pointers;
  for (const Tensor& w : weights) pointers.push_back(w.const_data_ptr<T>());
  return pointers;
}

// `precision` is of the products on a GPU's tensor cores; the CPU kernel computes in the tensors' own type.
inline std::tuple<Tensor, Tensor> mlp_forward(const Tensor& x, at::TensorList weights, int64_t activation, int64_t precision,
                                              bool keep_hidden) {
  check_contiguous(x, "x");
  const std::vector<int> widths = mlp_widths(weights);
  Tensor out = at::empty({x.size(0), widths.back()}, x.options()), hidden;
  const auto forward = [&](auto zero, int64_t hidden_size) {
    using T = decltype(zero);
    hidden = at::empty({keep_hidden ? hidden_size : 0}, x.options());
    return MlpForward<T>{widths, mlp_pointers<T>(weights), OutputActivation(activation), x.size(0), x.const_data_ptr<T>(),
                         keep_hidden ? hidden.data_ptr<T>() : nullptr, out.data_ptr<T>()};
  };
  if (x.is_cpu()) {
    NC_DISPATCH(x, "mlp_forward", [&] {
      mlp_forward_cpu(forward(scalar_t(), mlp_hidden_size<scalar_t>(widths, x.size(0))), num_threads());
    });
    return {out, hidden};
  }
#ifdef NERFCORE_WITH_CUDA
  const c10::DeviceGuard guard(x.device());
  const Precision kind = Precision(precision);
  Tensor workspace = at::empty({mlp_forward_workspace_size(widths, kind)}, x.options());
  mlp_forward_cuda(forward(0.0f, mlp_fused_hidden_size(widths, kind, x.size(0))), kind, workspace.data_ptr<float>(), current_stream(x));
#else
  TORCH_CHECK(false, "nerfcore: these kernels were built without CUDA; x is on ", x.device());
#endif
  return {out, hidden};
}

// Returns grad_x (empty where not wanted) and then the gradient of each weight.
inline std::vector<Tensor> mlp_backward(const Tensor& x, at::TensorList weights, const Tensor& hidden, const Tensor& out,
                                        const Tensor& grad_out, int64_t activation, int64_t precision, bool wants_x) {
  check_contiguous(x, "x"), check_contiguous(grad_out, "grad_out");
  const std::vector<int> widths = mlp_widths(weights);
  std::vector<Tensor> grads{wants_x ? at::empty_like(x) : at::empty({0}, x.options())};
  for (const Tensor& w : weights) grads.push_back(at::empty_like(w));
  const auto backward = [&](auto zero) {
    using T = decltype(zero);
    std::vector<T*> grad_weights;
    for (size_t l = 1; l < grads.size(); ++l) grad_weights.push_back(grads[l].data_ptr<T>());
    return MlpBackward<T>{widths, mlp_pointers<T>(weights), OutputActivation(activation), x.size(0), x.const_data_ptr<T>(),
                          hidden.const_data_ptr<T>(), out.const_data_ptr<T>(), grad_out.const_data_ptr<T>(),
                          wants_x ? grads[0].data_ptr<T>() : nullptr, grad_weights};
  };
  if (x.is_cpu()) {
    NC_DISPATCH(x, "mlp_backward", [&] { mlp_backward_cpu(backward(scalar_t()), num_threads()); });
    return grads;
  }
#ifdef NERFCORE_WITH_CUDA
  const c10::DeviceGuard guard(x.device());
  const Precision kind = Precision(precision);
  Tensor workspace = at::empty({mlp_backward_workspace_size(widths, kind, x.size(0))}, x.options());
  mlp_backward_cuda(backward(0.0f), kind, workspace.data_ptr<float>(), current_stream(x));
#else
  TORCH_CHECK(false, "nerfcore: these kernels were built without CUDA; x is on ", x.device());
#endif
  return grads;
}

inline void register_mlp(Operations& m) {
  m.def("mlp_forward(Tensor x, Tensor[] weights, int activation, int precision, bool keep_hidden) -> (Tensor, Tensor)", &mlp_forward);
  m.def("mlp_backward(Tensor x, Tensor[] weights, Tensor hidden, Tensor out, Tensor grad_out, int activation, int precision, bool wants_x) "
        "-> Tensor[]", &mlp_backward);
}

}  // namespace nerfcore
