#include "core/launch.cuh"
#include "kernels/composite.h"

namespace nerfcore {

template <class T> void composite_forward_cuda(const CompositeForward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("composite_forward", params, num_rays, stream);
}

template <class T> void composite_backward_cuda(const CompositeBackward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("composite_backward", params, num_rays, stream);
}

template void composite_forward_cuda(const CompositeForward<float>&, int64_t, void*);
template void composite_forward_cuda(const CompositeForward<double>&, int64_t, void*);
template void composite_backward_cuda(const CompositeBackward<float>&, int64_t, void*);
template void composite_backward_cuda(const CompositeBackward<double>&, int64_t, void*);

}  // namespace nerfcore
