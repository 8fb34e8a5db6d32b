#include "core/launch.cuh"
#include "kernels/distortion.h"

namespace nerfcore {

template <class T> void distortion_forward_cuda(const DistortionForward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("distortion_forward", params, num_rays, stream);
}

template <class T> void distortion_backward_cuda(const DistortionBackward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("distortion_backward", params, num_rays, stream);
}

template void distortion_forward_cuda(const DistortionForward<float>&, int64_t, void*);
template void distortion_forward_cuda(const DistortionForward<double>&, int64_t, void*);
template void distortion_backward_cuda(const DistortionBackward<float>&, int64_t, void*);
template void distortion_backward_cuda(const DistortionBackward<double>&, int64_t, void*);

}  // namespace nerfcore
