#include "kernels/marching_cubes.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRowGrain = 128;

template <class T> void classify_rows_cpu(const ClassifyRows<T>& params, int64_t num_rows, int threads) {
  for_each_cpu(params, num_rows, threads, kRowGrain);
}

void count_rows_cpu(const CountRows& params, int64_t num_rows, int threads) { for_each_cpu(params, num_rows, threads, kRowGrain); }

template <class T> void emit_rows_cpu(const EmitRows<T>& params, int64_t num_rows, int threads) {
  for_each_cpu(params, num_rows, threads, kRowGrain);
}

template void classify_rows_cpu(const ClassifyRows<float>&, int64_t, int);
template void classify_rows_cpu(const ClassifyRows<double>&, int64_t, int);
template void emit_rows_cpu(const EmitRows<float>&, int64_t, int);
template void emit_rows_cpu(const EmitRows<double>&, int64_t, int);

}  // namespace nerfcore
