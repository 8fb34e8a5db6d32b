// Activations of the small MLP: ReLU between layers, none or a sigmoid at the end. No biases, as in Müller et al. 2022.
#pragma once
#include "core/platform.h"

namespace nerfcore {

enum class OutputActivation : int { kNone = 0, kSigmoid = 1 };

// dL/dx from dL/dy and the activated value y.
template <class T> NC_HD T output_activation_backward(T y, T grad_y, OutputActivation kind) {
  return kind == OutputActivation::kSigmoid ? grad_y * y * (T(1) - y) : grad_y;
}

}  // namespace nerfcore
