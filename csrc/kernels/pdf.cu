#include "core/launch.cuh"
#include "kernels/pdf.h"

namespace nerfcore {

template <class T> void pdf_forward_cuda(const PdfForward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("pdf_forward", params, num_rays, stream);
}

template void pdf_forward_cuda(const PdfForward<float>&, int64_t, void*);
template void pdf_forward_cuda(const PdfForward<double>&, int64_t, void*);

}  // namespace nerfcore
