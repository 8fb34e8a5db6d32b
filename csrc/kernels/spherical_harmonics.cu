#include "core/launch.cuh"
#include "kernels/spherical_harmonics.h"

namespace nerfcore {

template <class T> void spherical_harmonics_forward_cuda(const SphericalHarmonicsForward<T>& params, int64_t n, void* stream) {
  for_each_cuda("spherical_harmonics_forward", params, n, stream);
}

template <class T> void spherical_harmonics_backward_cuda(const SphericalHarmonicsBackward<T>& params, int64_t n, void* stream) {
  for_each_cuda("spherical_harmonics_backward", params, n, stream);
}

template <class T> void spherical_harmonics_backward2_cuda(const SphericalHarmonicsBackward2<T>& params, int64_t n, void* stream) {
  for_each_cuda("spherical_harmonics_backward2", params, n, stream);
}

template void spherical_harmonics_forward_cuda(const SphericalHarmonicsForward<float>&, int64_t, void*);
template void spherical_harmonics_forward_cuda(const SphericalHarmonicsForward<double>&, int64_t, void*);
template void spherical_harmonics_backward_cuda(const SphericalHarmonicsBackward<float>&, int64_t, void*);
template void spherical_harmonics_backward_cuda(const SphericalHarmonicsBackward<double>&, int64_t, void*);
template void spherical_harmonics_backward2_cuda(const SphericalHarmonicsBackward2<float>&, int64_t, void*);
template void spherical_harmonics_backward2_cuda(const SphericalHarmonicsBackward2<double>&, int64_t, void*);

}  // namespace nerfcore
