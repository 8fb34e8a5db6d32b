// One Adam step of one parameter: Kingma and Ba 2015, algorithm 1, with the bias corrections folded into rate and epsilon.
#pragma once
#include "core/platform.h"

namespace nerfcore {

struct AdamStep {
  double rate;     // learning rate / (1 - beta1^t)
  double beta1, beta2, epsilon;
  double correct2; // 1 / sqrt(1 - beta2^t)
};

// A zero gradient leaves the parameter and its moments untouched, as in tiny-cuda-nn: hash entries that no sample met keep still.
template <class T> NC_HD void adam_update(T* param, T gradient, T* first, T* second, T rate, T beta1, T beta2, T epsilon, T correct2) {
  const bool touched = gradient != T(0);
  const T m = beta1 * *first + (T(1) - beta1) * gradient;
  const T v = beta2 * *second + (T(1) - beta2) * gradient * gradient;
  const T next = *param - rate * m / (std::sqrt(v) * correct2 + epsilon);
  *first = touched ? m : *first;
  *second = touched ? v : *second;
  *param = touched ? next : *param;
}

}  // namespace nerfcore
