// How much weight a proposal leaves unexplained: Barron et al. 2022, equations 12 and 13. The weight of an interval can be at most the
// sum of the proposal's weights in all intervals that it overlaps, its bound; a ray loses
//   sum_i max(0, w_i - bound_i)^2 / w_i.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// The n intervals of a ray and the m of its proposal, both in order along the ray; they may have gaps.
template <class T> struct InterlevelRay {
  int64_t n, m;
  const T *weight, *t_start, *t_end;
  const T *proposed, *proposed_start, *proposed_end;

  // Calls visit(excess, w_i, first, last) for every interval: what it weighs beyond its bound, the sum over proposals first ... last - 1.
  template <class Visit> NC_HD void each(const Visit& visit) const {
    int64_t first = 0, last = 0;
    for (int64_t i = 0; i < n; ++i) {
      while (first < m && proposed_end[first] <= t_start[i]) ++first;
      while (last < m && proposed_start[last] < t_end[i]) ++last;
      T bound = T(0);
      for (int64_t j = first; j < last; ++j) bound += proposed[j];
      visit(weight[i] - bound, weight[i], first, last);
    }
  }

  NC_HD T loss() const {
    T sum = T(0);
    each([&](T excess, T w, int64_t, int64_t) {
      if (!(excess <= T(0))) sum += excess * (excess / w);  // also where it is no number
    });
    return sum;
  }

  // Adjoint for the proposed weights; the others are what a proposal aims at, and stay.
  NC_HD void backward(T grad, T* grad_proposed) const {
    for (int64_t j = 0; j < m; ++j) grad_proposed[j] = T(0);
    each([&](T excess, T w, int64_t first, int64_t last) {
      const T slope = excess > T(0) ? T(-2) * grad * (excess / w) : T(0);
      for (int64_t j = first; j < last; ++j) grad_proposed[j] += slope;
    });
  }
};

}  // namespace nerfcore
