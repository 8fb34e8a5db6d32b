// One Adam step of one parameter: Kingma and Ba 2015, algorithm 1, with the bias corrections folded into rate and epsilon.
#pragma once
#include "core/platform.h"

namespace nerfcore {

template <class T> struct AdamStep {
  T rate;  // learning rate / (1 - beta1^t)
  T beta1, beta2, epsilon;
  T correct2;  // 1 / sqrt(1 - beta2^t)
};

// A zero gradient leaves the parameter and its moments untouched, as in tiny-cuda-nn: hash entries that no sample met keep still.
template <class T> NC_HD void adam_update(const AdamStep<T>& step, T* param, T gradient, T* first, T* second) {
  const bool touched = gradient != T(0);
  const T m = step.beta1 * *first + (T(1) - step.beta1) * gradient;
  const T v = step.beta2 * *second + (T(1) - step.beta2) * gradient * gradient;
  const T next = *param - step.rate * m / (std::sqrt(v) * step.correct2 + step.epsilon);
  *first = touched ? m : *first;
  *second = touched ? v : *second;
  *param = touched ? next : *param;
}

}  // namespace nerfcore
