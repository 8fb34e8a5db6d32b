#include "core/launch.cuh"
#include "kernels/marching_cubes_warp.h"

namespace nerfcore {

template <class T> void scan_rows_cuda(const ScanRows<T>& params, void* stream) {
  const int64_t num_rows = params.bits.nx * params.bits.ny;
  for_each_cuda<kRowLanes>("marching_cubes: classify", ClassifyRow<T>{params}, num_rows, stream);
  for_each_cuda<kRowLanes>("marching_cubes: count", CountRow<T>{params}, num_rows, stream);
}

template <class T> void emit_rows_cuda(const EmitRows<T>& params, void* stream) {
  for_each_cuda<kRowLanes>("marching_cubes: emit", EmitRow<T>{params}, params.scan.bits.nx * params.scan.bits.ny, stream);
}

template void scan_rows_cuda(const ScanRows<float>&, void*);
template void scan_rows_cuda(const ScanRows<double>&, void*);
template void emit_rows_cuda(const EmitRows<float>&, void*);
template void emit_rows_cuda(const EmitRows<double>&, void*);

}  // namespace nerfcore
