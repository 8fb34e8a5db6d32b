#pragma once
#include "math/pdf.h"

namespace nerfcore {

template <class T> struct PdfForward {
  const T* borders;  // [R, B + 1]
  const T* weights;  // [R, B]
  const T* jitter;   // [R, N] or [R] in [0, 1), or null for halves
  bool one_jitter;   // it is [R]
  T floor;
  int64_t num_bins, num_samples;
  T* out;  // [R, N] out

  NC_HD PdfRay<T> ray(int64_t r) const {
    return {num_bins, num_samples, borders + r * (num_bins + 1), weights + r * num_bins, floor,
            jitter ? jitter + (one_jitter ? r : r * num_samples) : nullptr, one_jitter};
  }
  NC_HD void operator()(int64_t r) const { pdf_sample_ray(ray(r), out + r * num_samples); }
};

template <class T> void pdf_forward_cpu(const PdfForward<T>& params, int64_t num_rays, int threads);
template <class T> void pdf_forward_cuda(const PdfForward<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
