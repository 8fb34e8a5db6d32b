#pragma once
#include "math/hash_grid.h"

namespace nerfcore {

template <class T> struct HashGridForward {
  GridLevels levels;
  int64_t num_points;
  const T* x;      // [N, D] in [0, 1]
  const T* table;  // [entries, F]
  T* out;          // [N, L * F] out
};

template <class T> struct HashGridBackward {
  GridLevels levels;
  int64_t num_points;
  const T* x;         // [N, D]
  const T* table;     // [entries, F]; read only for grad_x
  const T* grad_out;  // [N, L * F]
  T* grad_table;      // [entries, F] added to, or null
  T* grad_x;          // [N, D] added to, or null
};

// dims D in {2, 3}, features F in {1, 2, 4, 8}.
template <class T> void hash_grid_forward_cpu(const HashGridForward<T>& params, int dims, int features, int threads);
template <class T> void hash_grid_forward_cuda(const HashGridForward<T>& params, int dims, int features, void* stream);
template <class T> void hash_grid_backward_cpu(const HashGridBackward<T>& params, int dims, int features, int threads);
template <class T> void hash_grid_backward_cuda(const HashGridBackward<T>& params, int dims, int features, void* stream);


}  // namespace nerfcore

// Switches on (dims, features) and runs `call` with D and F constant.
#define NC_GRID_SHAPE(dims, features, call)                                                     \
  do {                                                                                          \
    if (dims == 2) { constexpr int D = 2; NC_GRID_FEATURES(features, call); }                   \
    else { constexpr int D = 3; NC_GRID_FEATURES(features, call); }                             \
  } while (0)
#define NC_GRID_FEATURES(features, call)                   \
  switch (features) {                                      \
    case 1: { constexpr int F = 1; call; break; }          \
    case 2: { constexpr int F = 2; call; break; }          \
    case 4: { constexpr int F = 4; call; break; }          \
    default: { constexpr int F = 8; call; break; }         \
  }
