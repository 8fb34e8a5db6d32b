#include "core/launch.cuh"
#include "core/warp.h"
#include "kernels/march.h"

namespace nerfcore {
namespace {

template <class Pass, class V> struct Rays {
  Pass pass;
  NC_HD void operator()(int64_t r) const { pass.template ray<V>(r); }
};

// Few rays leave the device waiting for a chain of look-ups along each, so eight threads look at eight intervals of a ray at once.
// With many rays it has enough to do, and a thread alone wastes least: a leap over empty space takes as many instructions in eight.
template <class T, class Pass> void launch(const char* what, const Pass& pass, int64_t num_rays, void* stream) {
  constexpr int kTogether = 8;
  if (kTogether * num_rays <= resident_threads()) {
    for_each_cuda<kTogether>(what, Rays<Pass, Warp<T, kTogether>>{pass}, num_rays, stream);
  } else {
    for_each_cuda(what, Rays<Pass, T>{pass}, num_rays, stream);
  }
}

}  // namespace

void march_blocks_cuda(const MarchBlocks& params, int64_t num_pairs, void* stream) {
  for_each_cuda("march_blocks", params, num_pairs, stream);
}

void march_blocks_of_blocks_cuda(const MarchBlocksOfBlocks& params, int64_t num_blocks, void* stream) {
  for_each_cuda("march_blocks_of_blocks", params, num_blocks, stream);
}

template <class T> void march_count_cuda(const MarchCount<T>& params, int64_t num_rays, void* stream) {
  launch<T>("march_count", params, num_rays, stream);
}

template <class T> void march_write_cuda(const MarchWrite<T>& params, int64_t num_rays, void* stream) {
  launch<T>("march_write", params, num_rays, stream);
}

template void march_count_cuda(const MarchCount<float>&, int64_t, void*);
template void march_count_cuda(const MarchCount<double>&, int64_t, void*);
template void march_write_cuda(const MarchWrite<float>&, int64_t, void*);
template void march_write_cuda(const MarchWrite<double>&, int64_t, void*);

}  // namespace nerfcore
