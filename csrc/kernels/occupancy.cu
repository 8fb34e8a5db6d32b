#include "core/launch.cuh"
#include "kernels/occupancy.h"

namespace nerfcore {

template <class T> void occupancy_decay_cuda(const OccupancyDecay<T>& params, int64_t n, void* stream) {
  for_each_cuda("occupancy_decay", params, n, stream);
}

template <class T> void occupancy_raise_cuda(const OccupancyRaise<T>& params, int64_t n, void* stream) {
  for_each_cuda("occupancy_raise", params, n, stream);
}

template <class T> void occupancy_pack_cuda(const OccupancyPack<T>& params, int64_t num_bytes, void* stream) {
  for_each_cuda("occupancy_pack", params, num_bytes, stream);
}

template <class T> void occupancy_see_cuda(const OccupancySee<T>& params, int64_t num_rays, void* stream) {
  for_each_cuda("occupancy_see", params, num_rays, stream);
}

template void occupancy_decay_cuda(const OccupancyDecay<float>&, int64_t, void*);
template void occupancy_decay_cuda(const OccupancyDecay<double>&, int64_t, void*);
template void occupancy_raise_cuda(const OccupancyRaise<float>&, int64_t, void*);
template void occupancy_raise_cuda(const OccupancyRaise<double>&, int64_t, void*);
template void occupancy_pack_cuda(const OccupancyPack<float>&, int64_t, void*);
template void occupancy_pack_cuda(const OccupancyPack<double>&, int64_t, void*);
template void occupancy_see_cuda(const OccupancySee<float>&, int64_t, void*);
template void occupancy_see_cuda(const OccupancySee<double>&, int64_t, void*);

}  // namespace nerfcore
