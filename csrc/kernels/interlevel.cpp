#include "kernels/interlevel.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 64;  // rays hold tens of samples each

template <class T> void interlevel_forward_cpu(const InterlevelForward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template <class T> void interlevel_backward_cpu(const InterlevelBackward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void interlevel_forward_cpu(const InterlevelForward<float>&, int64_t, int);
template void interlevel_forward_cpu(const InterlevelForward<double>&, int64_t, int);
template void interlevel_backward_cpu(const InterlevelBackward<float>&, int64_t, int);
template void interlevel_backward_cpu(const InterlevelBackward<double>&, int64_t, int);

}  // namespace nerfcore
