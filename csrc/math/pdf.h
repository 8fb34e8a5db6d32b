// Inverse-transform sampling of a piecewise-constant density along a ray: Mildenhall et al. 2020, section 5.2.
// Everything is measured in samples: a bin's share of the N samples is N times its share of the weight, and sample k lies at
// k + jitter_k of N. One pass lays the samples over the shares, both being in order.
#pragma once
#include "core/lanes.h"

#include <limits>

namespace nerfcore {

template <class T> struct PdfRay {
  int64_t num_bins, num_samples;
  const T* borders;  // [B + 1], increasing
  const T* weights;  // [B]
  T floor;           // added to every weight
  const T* jitter;   // [N], or one value, or null for the middles
  bool one_jitter;

  NC_HD T at(int64_t k) const { return T(k) + (jitter ? jitter[one_jitter ? 0 : k] : T(0.5)); }
  NC_HD T width(int64_t bin) const { return borders[bin + 1] - borders[bin]; }
  // Share of a bin that weighs `weight` of `total`; divided first, since N / total may overflow.
  NC_HD T share(T weight, T total) const { return T(num_samples) * (weight / total); }
  // Where all samples lie if they cannot be laid over the bins: a ray of no length, or one with a weight that is none.
  NC_HD T fallback(T total) const { return total == T(0) ? borders[0] : std::numeric_limits<T>::quiet_NaN(); }
};

// Whether samples can be laid over bins that weigh this much together.
template <class T> NC_HD bool pdf_is_proper(T total) { return total > T(0) && total <= std::numeric_limits<T>::max(); }

// Of a sample `past` the lower edge of a bin that is `slope` long for a sample. Within the bin whatever rounds, or is no number.
template <class V> NC_HD V pdf_position(V lower, V upper, V past, V slope) {
  return min_lanes(max_lanes(lower + past * slope, lower), upper);
}

template <class T> NC_HD void pdf_sample_ray(const PdfRay<T>& ray, T* out) {
  T total = T(0), lowest = T(0);
  for (int64_t i = 0; i < ray.num_bins; ++i) {
    total += ray.weights[i] + ray.floor;
    lowest = min_of(lowest, ray.weights[i]);
  }
  const bool uniform = total == T(0) && lowest == T(0);
  if (uniform) total = ray.borders[ray.num_bins] - ray.borders[0];
  int64_t k = 0, last = 0;
  if (pdf_is_proper(total) && lowest == T(0)) {
    double sum = 0;  // a rounding error in an edge moves every sample of a bin that is wide and light
    for (int64_t i = 0; i < ray.num_bins; ++i) {
      const T share = ray.share(uniform ? ray.width(i) : ray.weights[i] + ray.floor, total);
      if (!(share > T(0))) continue;
      const T edge = T(sum), next = T(sum += share), slope = ray.width(i) / share;
      for (; k < ray.num_samples && ray.at(k) < next; ++k)
        out[k] = pdf_position(ray.borders[i], ray.borders[i + 1], ray.at(k) - edge, slope);
      last = i + 1;
    }
  }
  // What rounding has left over lies at the end.
  const T rest = last ? ray.borders[last] : ray.fallback(lowest == T(0) ? total : lowest);
  for (; k < ray.num_samples; ++k) out[k] = rest;
}

}  // namespace nerfcore
