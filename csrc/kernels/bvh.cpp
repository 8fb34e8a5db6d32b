#include "kernels/bvh.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kQueriesPerChunk = 256;  // some take many times as long as others

template <class T> void bvh_nearest_cpu(const BvhNearest<T>& params, int64_t num_points, int threads) {
  for_each_cpu(params, num_points, threads, kQueriesPerChunk);
}

template <class T> void bvh_winding_cpu(const BvhWinding<T>& params, int64_t num_points, int threads) {
  for_each_cpu(params, num_points, threads, kQueriesPerChunk);
}

template <class T> void bvh_first_hit_cpu(const BvhFirstHit<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kQueriesPerChunk);
}

template <class T> void bvh_any_hit_cpu(const BvhAnyHit<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kQueriesPerChunk);
}

template void bvh_nearest_cpu(const BvhNearest<float>&, int64_t, int);
template void bvh_nearest_cpu(const BvhNearest<double>&, int64_t, int);
template void bvh_winding_cpu(const BvhWinding<float>&, int64_t, int);
template void bvh_winding_cpu(const BvhWinding<double>&, int64_t, int);
template void bvh_first_hit_cpu(const BvhFirstHit<float>&, int64_t, int);
template void bvh_first_hit_cpu(const BvhFirstHit<double>&, int64_t, int);
template void bvh_any_hit_cpu(const BvhAnyHit<float>&, int64_t, int);
template void bvh_any_hit_cpu(const BvhAnyHit<double>&, int64_t, int);

}  // namespace nerfcore
