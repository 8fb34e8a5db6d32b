#include "core/launch.cuh"
#include "kernels/composite_warp.h"

namespace nerfcore {
namespace {

template <class T, int LANES, class Params> void launch_items(const char* what, const Params& params, int64_t num_rays, void* stream) {
  const CompositeItems<Params, T, LANES> items{params, num_rays};
  for_each_cuda<LANES>(what, items, items.count(), stream);
}

template <class T, class Params> void launch(const char* what, const Params& params, int64_t num_rays, void* stream) {
  if (params.num_samples < kShortRay * num_rays) launch_items<T, 8>(what, params, num_rays, stream);
  else launch_items<T, 32>(what, params, num_rays, stream);
}

}  // namespace

template <class T> void composite_forward_cuda(const CompositeForward<T>& params, int64_t num_rays, void* stream) {
  launch<T>("composite_forward", params, num_rays, stream);
}

template <class T> void composite_backward_cuda(const CompositeBackward<T>& params, int64_t num_rays, void* stream) {
  launch<T>("composite_backward", params, num_rays, stream);
}

template void composite_forward_cuda(const CompositeForward<float>&, int64_t, void*);
template void composite_forward_cuda(const CompositeForward<double>&, int64_t, void*);
template void composite_backward_cuda(const CompositeBackward<float>&, int64_t, void*);
template void composite_backward_cuda(const CompositeBackward<double>&, int64_t, void*);

}  // namespace nerfcore
