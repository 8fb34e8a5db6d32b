// Most entries of a hash table are untouched in a step: a run of zero gradients is skipped after reading the gradient alone.
#include "kernels/adam.h"

#include "core/parallel.h"

namespace nerfcore {

constexpr int64_t kRun = 16, kRunsPerChunk = 2048;

template <class T> void adam_cpu(const Adam<T>& params, int64_t n, int threads) {
  parallel_for(n, kRun * kRunsPerChunk, threads, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; run += kRun) {
      if (run + kRun <= end) {
        bool touched = false;
        for (int64_t i = run; i < run + kRun; ++i) touched |= params.gradient[i] != T(0);
        if (!touched) continue;
#pragma omp simd
        for (int64_t i = run; i < run + kRun; ++i) params(i);
      } else {
        for (int64_t i = run; i < end; ++i) params(i);
      }
    }
  });
}

template void adam_cpu(const Adam<float>&, int64_t, int);
template void adam_cpu(const Adam<double>&, int64_t, int);

}  // namespace nerfcore
