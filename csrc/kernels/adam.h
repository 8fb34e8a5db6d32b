#pragma once
#include "math/adam.h"

namespace nerfcore {

template <class T> struct Adam {
  AdamStep step;
  T* param;          // [N] updated
  const T* gradient; // [N]
  T* first;          // [N] first moment, updated
  T* second;         // [N] second moment, updated

  NC_HD void operator()(int64_t i) const {
    adam_update(param + i, gradient[i], first + i, second + i, T(step.rate), T(step.beta1), T(step.beta2), T(step.epsilon), T(step.correct2));
  }
};

template <class T> void adam_cpu(const Adam<T>& params, int64_t n, int threads);
template <class T> void adam_cuda(const Adam<T>& params, int64_t n, void* stream);

}  // namespace nerfcore
