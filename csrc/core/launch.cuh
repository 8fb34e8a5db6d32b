// CUDA launch: a grid-stride kernel over a functor on the given stream, checked.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace nerfcore {

inline void check_launch(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": CUDA launch failed: " + cudaGetErrorString(error));
}

template <class Kernel> __global__ void for_each_kernel(const Kernel kernel, int64_t n) {
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < n; i += stride) kernel(i);
}

// Calls kernel(i) for every i in [0, n) on `stream` (a cudaStream_t).
template <class Kernel> void for_each_cuda(const char* what, const Kernel& kernel, int64_t n, void* stream) {
  if (n == 0) return;
  constexpr int kThreads = 256;
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  for_each_kernel<<<unsigned(blocks < 65535 ? blocks : 65535), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(kernel, n);
  check_launch(what);
}

}  // namespace nerfcore
