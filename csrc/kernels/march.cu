#include "core/launch.cuh"
#include "kernels/march.h"

namespace nerfcore {

void march_blocks_cuda(const MarchBlocks& params, int64_t num_pairs, void* stream) {
  for_each_cuda("march_blocks", params, num_pairs, stream);
}

template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("march_count", params, num_rays, stream);
}

template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("march_write", params, num_rays, stream);
}

template void march_count_cuda(const MarchCount<float>&, int64_t, void*);
template void march_count_cuda(const MarchCount<double>&, int64_t, void*);
template void march_write_cuda(const MarchWrite<float>&, int64_t, void*);
template void march_write_cuda(const MarchWrite<double>&, int64_t, void*);

}  // namespace nerfcore
