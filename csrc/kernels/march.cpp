#include "kernels/march.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 64;  // a ray visits tens to hundreds of cells

template <class T> void march_count_cpu(const MarchCount<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template <class T> void march_write_cpu(const MarchWrite<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void march_count_cpu(const MarchCount<float>&, int64_t, int);
template void march_count_cpu(const MarchCount<double>&, int64_t, int);
template void march_write_cpu(const MarchWrite<float>&, int64_t, int);
template void march_write_cpu(const MarchWrite<double>&, int64_t, int);

}  // namespace nerfcore
