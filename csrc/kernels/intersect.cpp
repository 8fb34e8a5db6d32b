#include "kernels/intersect.h"

#include "core/parallel.h"

namespace nerfcore {

template <class T> void intersect_forward_cpu(const IntersectForward<T>& params, int64_t num_rays, int threads) {
  for_each_cpu(params, num_rays, threads);
}

template void intersect_forward_cpu(const IntersectForward<float>&, int64_t, int);
template void intersect_forward_cpu(const IntersectForward<double>&, int64_t, int);

}  // namespace nerfcore
