// CPU launch: an OpenMP loop over contiguous chunks. Bindings pass torch's thread count.
#pragma once
#include <omp.h>

#include <cstdint>

namespace nerfcore {

// Calls body(begin, end) for chunks of `grain` items, in parallel. A chunk's bounds never depend on the thread count,
// so a body that writes only its own chunk gives the same bits for any number of threads.
template <class Body> void parallel_for(int64_t n, int64_t grain, int threads, const Body& body) {
  const int64_t chunks = (n + grain - 1) / grain;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (chunks > 1 && threads > 1)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = c * grain, end = begin + grain < n ? begin + grain : n;
    body(begin, end);
  }
}

// Calls kernel(i) for every i in [0, n).
template <class Kernel> void for_each_cpu(const Kernel& kernel, int64_t n, int threads, int64_t grain = 1024) {
  parallel_for(n, grain, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) kernel(i);
  });
}

}  // namespace nerfcore
