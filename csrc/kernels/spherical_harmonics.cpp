#include "kernels/spherical_harmonics.h"

#include "core/parallel.h"

namespace nerfcore {

template <class T> void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<T>& params, int64_t n, int threads) {
  for_each_cpu(params, n, threads);
}

template <class T> void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<T>& params, int64_t n, int threads) {
  for_each_cpu(params, n, threads);
}

template void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<float>&, int64_t, int);
template void spherical_harmonics_forward_cpu(const SphericalHarmonicsForward<double>&, int64_t, int);
template void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<float>&, int64_t, int);
template void spherical_harmonics_backward_cpu(const SphericalHarmonicsBackward<double>&, int64_t, int);

}  // namespace nerfcore
