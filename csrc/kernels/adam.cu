#include "core/launch.cuh"
#include "kernels/adam.h"

namespace nerfcore {

template <class T> void adam_cuda(const Adam<T>& params, int64_t n, void* stream) { for_each_cuda("adam", params, n, stream); }
template <class T> void adam_touched_cuda(const AdamTouched<T>& params, int64_t num_entries, void* stream) {
  for_each_cuda("adam_touched", params, num_entries, stream);
}

template void adam_cuda(const Adam<float>&, int64_t, void*);
template void adam_cuda(const Adam<double>&, int64_t, void*);
template void adam_touched_cuda(const AdamTouched<float>&, int64_t, void*);
template void adam_touched_cuda(const AdamTouched<double>&, int64_t, void*);

}  // namespace nerfcore
