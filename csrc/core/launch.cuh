// CUDA launch: a grid-stride kernel over a functor on the given stream, checked.
// A functor is called by one thread, or by all threads of a (part of a) warp together: core/warp.h.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace nerfcore {

inline void check_cuda(const char* what, cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("nerfcore: ") + what + " failed: " + cudaGetErrorString(error));
}

inline int device_attribute(cudaDeviceAttr attribute) {  // of the current device
  int device = 0, value = 0;
  check_cuda("cudaGetDevice", cudaGetDevice(&device));
  check_cuda("cudaDeviceGetAttribute", cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

// How many threads the current device holds at once, if they need few registers.
inline int64_t resident_threads() {
  return int64_t(device_attribute(cudaDevAttrMultiProcessorCount)) * device_attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
}

constexpr int kThreads = 256;

template <int LANES, class Kernel> __global__ void for_each_kernel(const Kernel kernel, int64_t n) {
  const int64_t stride = int64_t(gridDim.x) * (kThreads / LANES);
  for (int64_t i = (blockIdx.x * int64_t(kThreads) + threadIdx.x) / LANES; i < n; i += stride) kernel(i);
}

// Calls kernel(i) for every i in [0, n) on `stream` (a cudaStream_t), each by LANES neighbouring threads.
template <int LANES = 1, class Kernel> void for_each_cuda(const char* what, const Kernel& kernel, int64_t n, void* stream) {
  if (n == 0) return;
  constexpr int kPerBlock = kThreads / LANES;
  const int64_t blocks = (n + kPerBlock - 1) / kPerBlock;
  for_each_kernel<LANES><<<unsigned(blocks < 65535 ? blocks : 65535), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(kernel, n);
  check_cuda(what, cudaGetLastError());
}

}  // namespace nerfcore
