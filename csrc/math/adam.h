// One Adam step of one parameter: Kingma and Ba 2015, algorithm 1, with the bias corrections folded into rate and epsilon.
#pragma once
#include "core/lanes.h"

namespace nerfcore {

// V: a number or a SIMD vector of them (core/lanes.h).
template <class V> struct AdamStep {
  V rate;  // learning rate / (1 - beta1^t)
  V beta1, beta2, epsilon;
  V correct2;  // 1 / sqrt(1 - beta2^t)
};

// A zero gradient leaves the parameter and its moments untouched, as in tiny-cuda-nn: hash entries that no sample met keep still.
template <class V> NC_HD void adam_update(const AdamStep<V>& step, V* param, V gradient, V* first, V* second) {
  const Mask<V> touched = gradient != V{};
  const V m = step.beta1 * *first + (Element<V>(1) - step.beta1) * gradient;
  const V v = step.beta2 * *second + (Element<V>(1) - step.beta2) * gradient * gradient;
  const V next = *param - step.rate * m / (root_of(v) * step.correct2 + step.epsilon);
  *first = select(touched, m, *first);
  *second = select(touched, v, *second);
  *param = select(touched, next, *param);
}

}  // namespace nerfcore
