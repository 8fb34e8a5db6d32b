// Launches the fused MLP (mlp_fused.h): a pass packs the weights, then as many blocks as fit on the GPU take turns at the rows.
#include "core/cuda_block.cuh"
#include "core/launch.cuh"
#include "kernels/mlp_fused.h"

namespace nerfcore {
namespace {

// Blocks that the registers of a multiprocessor hold at least, 8 to 16 warps in all: left to itself ptxas goes for more, and spills.
template <class P, int H> constexpr int kBlocksAtOnce = (H * P::kBytes <= 64 ? 16 : H * P::kBytes <= 128 ? 12 : 8) / kFusedWarps<P, H>;

template <class P, int H> __global__ void __launch_bounds__(kFusedWarps<P, H> * kWarpLanes, kBlocksAtOnce<P, H>)
mlp_forward_kernel(const __grid_constant__ FusedForward p) {
#if __CUDA_ARCH__ >= 800
  extern __shared__ Words4 shared[];
  const CudaBlock block;
  FusedMlp<CudaBlock, P, H>(block).forward(p, shared);
#endif
}

template <class P, int H> __global__ void __launch_bounds__(kFusedWarps<P, H> * kWarpLanes, kBlocksAtOnce<P, H>)
mlp_backward_kernel(const __grid_constant__ FusedBackward p) {
#if __CUDA_ARCH__ >= 800
  extern __shared__ Words4 shared[];
  const CudaBlock block;
  FusedMlp<CudaBlock, P, H>(block).backward(p, shared);
#endif
}

__global__ void largest_gradient_kernel(const __grid_constant__ LargestGradient p) {
  __shared__ float shared[LargestGradient::kWarps * kWarpLanes];
  p(CudaBlock(), shared);
}

__global__ void sum_partials_kernel(const __grid_constant__ SumPartials p) {
  __shared__ float shared[SumPartials::kWarps * kWarpLanes];
  p(CudaBlock(), shared);
}

// A padded hidden width and a precision as compile-time constants: f(P(), integral_constant<H>()).
template <class F> auto with_width(int width, const F& f) {
  switch (width) {
    case 16: return f(std::integral_constant<int, 16>());
    case 32: return f(std::integral_constant<int, 32>());
    case 64: return f(std::integral_constant<int, 64>());
    default: return f(std::integral_constant<int, 128>());
  }
}
template <class F> auto with_constants(const FusedShape& shape, Precision precision, const F& f) {
  switch (precision) {
    case Precision::kTf32: return with_width(shape.width, [&](auto width) { return f(Tf32(), width); });
    case Precision::kBf16: return with_width(shape.width, [&](auto width) { return f(Bf16(), width); });
    case Precision::kFp16: return with_width(shape.width, [&](auto width) { return f(Fp16(), width); });
    default: throw std::runtime_error("mlp: the tensor-core kernels have no float32; torch's matrix products serve it");
  }
}

FusedShape served_shape(const std::vector<int>& widths) {
  if (device_attribute(cudaDevAttrComputeCapabilityMajor) < 8)
    throw std::runtime_error("mlp: precision tf32, bf16 and fp16 need a GPU of compute capability 8.0 or newer; use precision float32");
  if (widths.size() < 3 || widths.size() > kMaxFusedLayers + 1)
    throw std::runtime_error("mlp: the tensor-core kernels take 2 to " + std::to_string(kMaxFusedLayers) + " matrices, got " +
                             std::to_string(widths.size() - 1) + "; use precision float32");
  for (size_t l = 1; l + 1 < widths.size(); ++l)
    if (widths[l] > kMaxFusedWidth)
      throw std::runtime_error("mlp: the tensor-core kernels take hidden widths of at most " + std::to_string(kMaxFusedWidth) + ", got " +
                               std::to_string(widths[l]) + "; use precision float32");
  return fused_shape(widths);
}

struct Plan {
  SharedMemory memory;
  int64_t blocks;
};

// As many blocks as can run at once and have rows, at least one. The number depends on the device alone, and so does the order of sums.
template <class Kernel> Plan plan_for(Kernel kernel, int warps, int rows_of_block, int64_t num_rows, const SharedMemory& memory) {
  int at_once;
  check_cuda("mlp", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(memory.bytes)));
  check_cuda("mlp", cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, warps * kWarpLanes, size_t(memory.bytes)));
  const int64_t most = int64_t(at_once) * device_attribute(cudaDevAttrMultiProcessorCount);
  return {memory, max_of<int64_t>(1, min_of((num_rows + rows_of_block - 1) / rows_of_block, most))};
}
template <class P, int H> Plan forward_plan(const FusedShape& shape, int64_t num_rows) {
  const int limit = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return plan_for(mlp_forward_kernel<P, H>, kFusedWarps<P, H>, kFusedRows<P, H>, num_rows, fused_forward_memory<P>(shape, limit));
}
template <class P, int H> Plan backward_plan(const FusedShape& shape, int64_t num_rows) {
  const int limit = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return plan_for(mlp_backward_kernel<P, H>, kFusedWarps<P, H>, kFusedRows<P, H>, num_rows, fused_backward_memory<P, H>(shape, limit));
}

template <class P> void pack(const FusedShape& shape, const std::vector<const float*>& weights, bool transposed, float* packed, void* stream) {
  for_each_cuda("mlp weights", pack_weights<P>(shape, weights, transposed, packed), int64_t(shape.tiles()) * kTileWords<P>, stream);
}

void find_largest(const LargestGradient& gradient, void* stream) {
  constexpr int kThreads = LargestGradient::kWarps * kWarpLanes;
  check_cuda("mlp", cudaMemsetAsync(gradient.largest, 0, sizeof(float), cudaStream_t(stream)));
  const int64_t blocks = min_of<int64_t>(gradient.count / kThreads + 1, 2 * device_attribute(cudaDevAttrMultiProcessorCount));
  largest_gradient_kernel<<<unsigned(blocks), kThreads, 0, cudaStream_t(stream)>>>(gradient);
  check_cuda("mlp_backward's largest gradient", cudaGetLastError());
}

}  // namespace

int64_t mlp_fused_hidden_size(const std::vector<int>& widths, Precision precision, int64_t num_rows) {
  const FusedShape shape = served_shape(widths);
  return with_constants(shape, precision, [&](auto p, auto) { return fused_hidden_size<decltype(p)>(shape, num_rows); });
}

int64_t mlp_forward_workspace_size(const std::vector<int>& widths, Precision precision) {
  const FusedShape shape = served_shape(widths);
  return with_constants(shape, precision, [&](auto p, auto) { return int64_t(shape.tiles()) * kTileWords<decltype(p)>; });
}

int64_t mlp_backward_workspace_size(const std::vector<int>& widths, Precision precision, int64_t num_rows) {
  const FusedShape shape = served_shape(widths);
  return with_constants(shape, precision, [&](auto p, auto width) {
    const Plan plan = backward_plan<decltype(p), width>(shape, num_rows);
    return shape.tiles() * (kTileWords<decltype(p)> + plan.blocks * kTile * kTile) + 1;
  });
}

void mlp_forward_cuda(const MlpForward<float>& params, Precision precision, float* workspace, void* stream) {
  const FusedShape shape = served_shape(params.widths);
  with_constants(shape, precision, [&](auto p, auto width) {
    using P = decltype(p);
    const Plan plan = forward_plan<P, width>(shape, params.num_rows);
    pack<P>(shape, params.weights, false, workspace, stream);
    constexpr int kThreads = kFusedWarps<P, width> * kWarpLanes;
    mlp_forward_kernel<P, width><<<unsigned(plan.blocks), kThreads, size_t(plan.memory.bytes), cudaStream_t(stream)>>>(
        fused_forward(shape, params, workspace, plan.memory));
    check_cuda("mlp_forward", cudaGetLastError());
  });
}

void mlp_backward_cuda(const MlpBackward<float>& params, Precision precision, float* workspace, void* stream) {
  const FusedShape shape = served_shape(params.widths);
  with_constants(shape, precision, [&](auto p, auto width) {
    using P = decltype(p);
    const Plan plan = backward_plan<P, width>(shape, params.num_rows);
    float *partial = workspace + shape.tiles() * kTileWords<P>, *largest = nullptr;
    if constexpr (P::kScalesGradient) {
      largest = partial + plan.blocks * shape.tiles() * kTile * kTile;
      find_largest(largest_gradient(params, largest), stream);
    }
    pack<P>(shape, params.weights, true, workspace, stream);
    constexpr int kThreads = kFusedWarps<P, width> * kWarpLanes, kSumThreads = SumPartials::kWarps * kWarpLanes;
    mlp_backward_kernel<P, width><<<unsigned(plan.blocks), kThreads, size_t(plan.memory.bytes), cudaStream_t(stream)>>>(
        fused_backward(shape, params, workspace, partial, largest, plan.memory));
    check_cuda("mlp_backward", cudaGetLastError());
    sum_partials_kernel<<<unsigned(shape.tiles() * kTile * kTile / kWarpLanes), kSumThreads, 0, cudaStream_t(stream)>>>(
        sum_partials(shape, params, partial, largest, plan.blocks));
    check_cuda("mlp_backward's sum over blocks", cudaGetLastError());
  });
}

}  // namespace nerfcore
