#include "core/launch.cuh"
#include "kernels/intersect.h"

namespace nerfcore {

template <class T> void intersect_forward_cuda(const IntersectForward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("intersect_forward", params, num_rays, stream);
}

template void intersect_forward_cuda(const IntersectForward<float>&, int64_t, void*);
template void intersect_forward_cuda(const IntersectForward<double>&, int64_t, void*);

}  // namespace nerfcore
