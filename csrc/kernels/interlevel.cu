#include "core/launch.cuh"
#include "kernels/interlevel.h"

namespace nerfcore {

template <class T> void interlevel_forward_cuda(const InterlevelForward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("interlevel_forward", params, num_rays, stream);
}

template <class T> void interlevel_backward_cuda(const InterlevelBackward<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("interlevel_backward", params, num_rays, stream);
}

template void interlevel_forward_cuda(const InterlevelForward<float>&, int64_t, void*);
template void interlevel_forward_cuda(const InterlevelForward<double>&, int64_t, void*);
template void interlevel_backward_cuda(const InterlevelBackward<float>&, int64_t, void*);
template void interlevel_backward_cuda(const InterlevelBackward<double>&, int64_t, void*);

}  // namespace nerfcore
