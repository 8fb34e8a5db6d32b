#include "core/launch.cuh"
#include "kernels/marching_cubes.h"

namespace nerfcore {
namespace {

template <class T> struct Classify {
  ScanRows<T> scan;
  NC_HD void operator()(int64_t row) const { scan.classify(row); }
};

template <class T> struct Count {
  ScanRows<T> scan;
  NC_HD void operator()(int64_t row) const { scan.count(row, 0, scan.bits.words()); }
};

template <class T> struct Emit {
  EmitRows<T> rows;
  NC_HD void operator()(int64_t row) const { rows.emit_vertices(row), rows.emit_faces(row); }
};

}  // namespace

template <class T> void scan_rows_cuda(const ScanRows<T>& params, void* stream) {
  const int64_t num_rows = params.bits.nx * params.bits.ny;
  for_each_cuda("marching_cubes: classify", Classify<T>{params}, num_rows, stream);
  for_each_cuda("marching_cubes: count", Count<T>{params}, num_rows, stream);
}

template <class T> void emit_rows_cuda(const EmitRows<T>& params, void* stream) {
  for_each_cuda("marching_cubes: emit", Emit<T>{params}, params.scan.bits.nx * params.scan.bits.ny, stream);
}

template void scan_rows_cuda(const ScanRows<float>&, void*);
template void scan_rows_cuda(const ScanRows<double>&, void*);
template void emit_rows_cuda(const EmitRows<float>&, void*);
template void emit_rows_cuda(const EmitRows<double>&, void*);

}  // namespace nerfcore
