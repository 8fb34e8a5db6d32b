#include "core/launch.cuh"
#include "kernels/marching_cubes.h"

namespace nerfcore {

template <class T> void classify_rows_cuda(const ClassifyRows<T>& params, int64_t num_rows, void* stream) {
  for_each_cuda("marching_cubes: classify", params, num_rows, stream);
}

void count_rows_cuda(const CountRows& params, int64_t num_rows, void* stream) {
  for_each_cuda("marching_cubes: count", params, num_rows, stream);
}

template <class T> void emit_rows_cuda(const EmitRows<T>& params, int64_t num_rows, void* stream) {
  for_each_cuda("marching_cubes: emit", params, num_rows, stream);
}

template void classify_rows_cuda(const ClassifyRows<float>&, int64_t, void*);
template void classify_rows_cuda(const ClassifyRows<double>&, int64_t, void*);
template void emit_rows_cuda(const EmitRows<float>&, int64_t, void*);
template void emit_rows_cuda(const EmitRows<double>&, int64_t, void*);

}  // namespace nerfcore
