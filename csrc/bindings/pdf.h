#pragma once
#include "bindings/common.h"
#include "kernels/pdf.h"

namespace nerfcore {

inline Tensor pdf_forward(const Tensor& borders, const Tensor& weights, const std::optional<Tensor>& jitter, int64_t num_samples, double floor) {
  check_contiguous(borders, "borders"), check_contiguous(weights, "weights");
  if (jitter) check_contiguous(*jitter, "jitter");
  const int64_t num_rays = weights.size(0);
  Tensor out = at::empty({num_rays, num_samples}, weights.options());
  NC_DISPATCH(weights, "pdf_forward", [&] {
    const PdfForward<scalar_t> p{borders.const_data_ptr<scalar_t>(), weights.const_data_ptr<scalar_t>(),
                                 jitter ? jitter->const_data_ptr<scalar_t>() : nullptr, jitter && jitter->dim() == 1, scalar_t(floor),
                                 weights.size(1), num_samples, out.data_ptr<scalar_t>()};
    NC_LAUNCH(pdf_forward, weights, p, num_rays);
  });
  return out;
}

inline void register_pdf(Operations& m) {
  m.def("pdf_forward(Tensor borders, Tensor weights, Tensor? jitter, int num_samples, float floor) -> Tensor", &pdf_forward);
}

}  // namespace nerfcore
