// A device thread owns one channel of one point: threads side by side read and write neighbouring channels of the same rows.
#include "core/atomic.h"
#include "core/launch.cuh"
#include "kernels/multilinear.h"

namespace nerfcore {
namespace {

template <class T, int D> __device__ CornerCell<T, D> cell_of(const CornerLayout& layout, const T* x, const T* along, int64_t point) {
  return CornerCell<T, D>(layout, x + point * D, along ? along + point * D : nullptr);
}

template <class T, int D> struct Forward {
  MultilinearForward<T> p;

  __device__ void operator()(int64_t i) const {
    const int64_t point = i / p.channels, channel = i % p.channels;
    const CornerCell<T, D> cell = cell_of<T, D>(p.layout, p.x, p.along, point);
    const T* values = p.values + point / p.num_points * corners_of<D>(p.layout) * p.channels + channel;
    T sum = T(0);
#pragma unroll
    for (int c = 0; c < (1 << D); ++c) {
      const int64_t row = cell.row(p.layout, c);
      if (row >= 0) sum += cell.weight(c) * __ldg(values + row * p.channels);
    }
    p.out[i] = sum;
  }
};

template <class T, int D> struct BackwardValues {
  MultilinearBackward<T> p;

  __device__ void operator()(int64_t i) const {
    const int64_t point = i / p.channels, channel = i % p.channels;
    const T grad = p.grad_out[i];
    if (grad == T(0)) return;
    const CornerCell<T, D> cell = cell_of<T, D>(p.layout, p.x, p.along, point);
    const int64_t first = point / p.num_points * corners_of<D>(p.layout);
#pragma unroll
    for (int c = 0; c < (1 << D); ++c) {
      const int64_t row = cell.row(p.layout, c);
      if (row < 0) continue;
      atomic_add(p.grad_values + (first + row) * p.channels + channel, cell.weight(c) * grad);
      if (p.touched) p.touched[first + row] = 1;
    }
  }
};

template <class T, int D> struct BackwardX {
  MultilinearBackward<T> p;

  __device__ void operator()(int64_t point) const {
    const CornerCell<T, D> cell = cell_of<T, D>(p.layout, p.x, p.along, point);
    const T* values = p.values + point / p.num_points * corners_of<D>(p.layout) * p.channels;
    const T* grad_out = p.grad_out + point * p.channels;
    T value[1 << D];
#pragma unroll
    for (int c = 0; c < (1 << D); ++c) {
      const int64_t row = cell.row(p.layout, c);
      value[c] = T(0);
      for (int64_t k = 0; row >= 0 && k < p.channels; ++k) value[c] += grad_out[k] * __ldg(values + row * p.channels + k);
    }
    cell.position_gradient(p.layout, p.x + point * D, value, p.grad_x + point * D);
  }
};

}  // namespace

template <class T> void multilinear_forward_cuda(const MultilinearForward<T>& p, int dims, void* stream) {
  const int64_t points = p.num_grids * p.num_points;
  NC_CORNER_DIMS(dims, (for_each_cuda("multilinear_forward", Forward<T, D>{p}, points * p.channels, stream)));
}

template <class T> void multilinear_backward_cuda(const MultilinearBackward<T>& p, int dims, void* stream) {
  const int64_t points = p.num_grids * p.num_points;
  if (p.grad_values)
    NC_CORNER_DIMS(dims, (for_each_cuda("multilinear_backward to values", BackwardValues<T, D>{p}, points * p.channels, stream)));
  if (p.grad_x) NC_CORNER_DIMS(dims, (for_each_cuda("multilinear_backward to x", BackwardX<T, D>{p}, points, stream)));
}

template void multilinear_forward_cuda(const MultilinearForward<float>&, int, void*);
template void multilinear_forward_cuda(const MultilinearForward<double>&, int, void*);
template void multilinear_backward_cuda(const MultilinearBackward<float>&, int, void*);
template void multilinear_backward_cuda(const MultilinearBackward<double>&, int, void*);

}  // namespace nerfcore
