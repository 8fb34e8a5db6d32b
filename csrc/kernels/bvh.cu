#include "core/launch.cuh"
#include "kernels/bvh.h"

namespace nerfcore {

template <class T> void bvh_nearest_cuda(const BvhNearest<T>& params, int64_t num_points, void* stream) {
  for_each_cuda("bvh_nearest", params, num_points, stream);
}

template <class T> void bvh_winding_cuda(const BvhWinding<T>& params, int64_t num_points, void* stream) {
  for_each_cuda("bvh_winding", params, num_points, stream);
}

template <class T> void bvh_first_hit_cuda(const BvhFirstHit<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("bvh_first_hit", params, num_rays, stream);
}

template <class T> void bvh_any_hit_cuda(const BvhAnyHit<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("bvh_any_hit", params, num_rays, stream);
}

template void bvh_nearest_cuda(const BvhNearest<float>&, int64_t, void*);
template void bvh_nearest_cuda(const BvhNearest<double>&, int64_t, void*);
template void bvh_winding_cuda(const BvhWinding<float>&, int64_t, void*);
template void bvh_winding_cuda(const BvhWinding<double>&, int64_t, void*);
template void bvh_first_hit_cuda(const BvhFirstHit<float>&, int64_t, void*);
template void bvh_first_hit_cuda(const BvhFirstHit<double>&, int64_t, void*);
template void bvh_any_hit_cuda(const BvhAnyHit<float>&, int64_t, void*);
template void bvh_any_hit_cuda(const BvhAnyHit<double>&, int64_t, void*);

}  // namespace nerfcore
