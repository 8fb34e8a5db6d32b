// Activations of the small MLP: ReLU between layers, one of these at the end. No biases, as in Müller et al. 2022.
#pragma once
#include "core/platform.h"

namespace nerfcore {

enum class OutputActivation : int { kNone = 0, kSigmoid = 1, kExp = 2, kRelu = 3 };

template <class T> NC_HD T output_activation(T x, OutputActivation kind) {
  switch (kind) {
    case OutputActivation::kSigmoid: return T(1) / (T(1) + std::exp(-x));
    case OutputActivation::kExp: return std::exp(x);
    case OutputActivation::kRelu: return x < T(0) ? T(0) : x;  // a NaN stays
    default: return x;
  }
}

// dL/dx from dL/dy and the activated value y.
template <class T> NC_HD T output_activation_backward(T y, T grad_y, OutputActivation kind) {
  switch (kind) {
    case OutputActivation::kSigmoid: return grad_y * y * (T(1) - y);
    case OutputActivation::kExp: return grad_y * y;
    case OutputActivation::kRelu: return y > T(0) ? grad_y : T(0);
    default: return grad_y;
  }
}

}  // namespace nerfcore
