#include "kernels/occupancy.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kCellsPerChunk = 4096, kRaysPerChunk = 128;

template <class T> void occupancy_decay_cpu(const OccupancyDecay<T>& params, int64_t n, int threads) {
  for_each_cpu(params, n, threads, kCellsPerChunk);
}

template <class T> void occupancy_raise_cpu(const OccupancyRaise<T>& params, int64_t n, int threads) {
  for_each_cpu(params, n, threads, kCellsPerChunk);
}

template <class T> void occupancy_pack_cpu(const OccupancyPack<T>& params, int64_t num_bytes, int threads) {
  for_each_cpu(params, num_bytes, threads, kCellsPerChunk);
}

template <class T> void occupancy_see_cpu(const OccupancySee<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads, kRaysPerChunk);
}

template void occupancy_decay_cpu(const OccupancyDecay<float>&, int64_t, int);
template void occupancy_decay_cpu(const OccupancyDecay<double>&, int64_t, int);
template void occupancy_raise_cpu(const OccupancyRaise<float>&, int64_t, int);
template void occupancy_raise_cpu(const OccupancyRaise<double>&, int64_t, int);
template void occupancy_pack_cpu(const OccupancyPack<float>&, int64_t, int);
template void occupancy_pack_cpu(const OccupancyPack<double>&, int64_t, int);
template void occupancy_see_cpu(const OccupancySee<float>&, int64_t, int);
template void occupancy_see_cpu(const OccupancySee<double>&, int64_t, int);

}  // namespace nerfcore
