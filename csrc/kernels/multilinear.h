#pragma once
#include "math/multilinear.h"

namespace nerfcore {

// With `along`, each of these works with the derivative of the interpolation weights along that direction in their place. From the
// three come all second derivatives.
template <class T> struct MultilinearForward {
  CornerLayout layout;
  int64_t num_grids, num_points, channels;  // B, N of each grid, C
  const T* x;       // [B, N, D] in [0, 1]
  const T* along;   // [B, N, D], or null
  const T* values;  // [B * corners, C], or [rows, C] where links name them, and then B = 1
  T* out;           // [B, N, C] out
};

template <class T> struct MultilinearBackward {
  CornerLayout layout;
  int64_t num_grids, num_points, channels;
  const T* x;         // [B, N, D]
  const T* along;     // [B, N, D], or null
  const T* values;    // as above; read only for grad_x
  const T* grad_out;  // [B, N, C]
  T* grad_values;     // of the shape of values, added to; or null. Links must not name a row twice
  uint8_t* touched;   // [rows], 1 where something was added; or null
  T* grad_x;          // [B, N, D] out, or null
};

// dims D in {1, 2, 3}.
template <class T> void multilinear_forward_cpu(const MultilinearForward<T>& params, int dims, int threads);
template <class T> void multilinear_forward_cuda(const MultilinearForward<T>& params, int dims, void* stream);
template <class T> void multilinear_backward_cpu(const MultilinearBackward<T>& params, int dims, int threads);
template <class T> void multilinear_backward_cuda(const MultilinearBackward<T>& params, int dims, void* stream);

}  // namespace nerfcore

// Switches on dims and runs `call` with D constant.
#define NC_CORNER_DIMS(dims, call)                     \
  do {                                                 \
    if (dims == 1) { constexpr int D = 1; call; }      \
    else if (dims == 2) { constexpr int D = 2; call; } \
    else { constexpr int D = 3; call; }                \
  } while (0)
