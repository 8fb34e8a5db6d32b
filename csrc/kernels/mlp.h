#pragma once
#include "core/precision.h"
#include "math/mlp.h"

#include <vector>

namespace nerfcore {

// Layer l maps widths[l] to widths[l + 1]; weights[l] is [widths[l], widths[l + 1]] row-major, y = x W.
template <class T> struct MlpForward {
  std::vector<int> widths;
  std::vector<const T*> weights;
  OutputActivation activation;
  int64_t num_rows;
  const T* x;  // [N, in]
  T* hidden;   // [mlp_hidden_size] out, or null to keep nothing: activations between the layers, in the kernel's own tiled layout
  T* out;      // [N, out] out
};

template <class T> struct MlpBackward {
  std::vector<int> widths;
  std::vector<const T*> weights;
  OutputActivation activation;
  int64_t num_rows;
  const T* x;                   // [N, in]
  const T* hidden;              // from the forward pass; or null, on a CPU: it is computed again
  const T* out;                 // [N, out] from the forward pass
  const T* grad_out;            // [N, out]
  T* grad_x;                    // [N, in] out, or null
  std::vector<T*> grad_weights; // [widths[l], widths[l + 1]] out
};

// Number of values that the forward pass keeps for the backward pass; 0 where these are too many.
template <class T> int64_t mlp_hidden_size(const std::vector<int>& widths, int64_t num_rows);

template <class T> void mlp_forward_cpu(const MlpForward<T>& params, int threads);
template <class T> void mlp_backward_cpu(const MlpBackward<T>& params, int threads);

// On tensor cores (mlp_fused.h), in any precision but float32, which torch's matrix products serve (nerfcore/ops/mlp.py). `hidden` has
// mlp_fused_hidden_size values and holds numbers of that precision; `workspace` has the size that its function gives for the current device.
// All of them throw std::runtime_error where the GPU or the network is not one of those that they serve.
int64_t mlp_fused_hidden_size(const std::vector<int>& widths, Precision precision, int64_t num_rows);
int64_t mlp_forward_workspace_size(const std::vector<int>& widths, Precision precision);
int64_t mlp_backward_workspace_size(const std::vector<int>& widths, Precision precision, int64_t num_rows);
void mlp_forward_cuda(const MlpForward<float>& params, Precision precision, float* workspace, void* stream);
void mlp_backward_cuda(const MlpBackward<float>& params, Precision precision, float* workspace, void* stream);

}  // namespace nerfcore
