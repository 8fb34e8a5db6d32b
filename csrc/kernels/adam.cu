#include "core/launch.cuh"
#include "kernels/adam.h"

namespace nerfcore {

template <class T> void adam_cuda(const Adam<T>& params, int64_t n, void* stream) { for_each_cuda("adam", params, n, stream); }

template void adam_cuda(const Adam<float>&, int64_t, void*);
template void adam_cuda(const Adam<double>&, int64_t, void*);

}  // namespace nerfcore
