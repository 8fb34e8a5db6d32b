#include "kernels/distortion.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 64;  // rays hold tens of samples each

template <class T> void distortion_forward_cpu(const DistortionForward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template <class T> void distortion_backward_cpu(const DistortionBackward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void distortion_forward_cpu(const DistortionForward<float>&, int64_t, int);
template void distortion_forward_cpu(const DistortionForward<double>&, int64_t, int);
template void distortion_backward_cpu(const DistortionBackward<float>&, int64_t, int);
template void distortion_backward_cpu(const DistortionBackward<double>&, int64_t, int);

}  // namespace nerfcore
