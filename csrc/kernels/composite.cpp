#include "kernels/composite.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 64;  // rays hold tens of samples each

template <class T> void composite_forward_cpu(const CompositeForward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template <class T> void composite_backward_cpu(const CompositeBackward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void composite_forward_cpu(const CompositeForward<float>&, int64_t, int);
template void composite_forward_cpu(const CompositeForward<double>&, int64_t, int);
template void composite_backward_cpu(const CompositeBackward<float>&, int64_t, int);
template void composite_backward_cpu(const CompositeBackward<double>&, int64_t, int);

}  // namespace nerfcore
