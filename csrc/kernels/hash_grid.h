#pragma once
#include "core/half.h"
#include "math/hash_grid.h"

namespace nerfcore {

// A table [entries, F] as memory holds it: in the type of the points, or, beside float, in half precision.
template <class T> struct GridTable {
  const void* values;
  Storage storage;

  // Calls body(values) with a pointer to their type.
  template <class Body> void visit(const Body& body) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (storage == Storage::kFloat16) return body(static_cast<const Float16*>(values));
      if (storage == Storage::kBfloat16) return body(static_cast<const Bfloat16*>(values));
    }
    body(static_cast<const T*>(values));
  }
};

// With `along`, each of these works with the derivative of the interpolation weights along that direction in their place. From the
// three come all second derivatives.
template <class T> struct HashGridForward {
  GridLevels levels;
  int64_t num_points;
  const T* x;      // [N, D] in [0, 1]
  const T* along;  // [N, D], or null
  GridTable<T> table;
  T* out;          // [N, L * F] out
};

template <class T> struct HashGridBackward {
  GridLevels levels;
  int64_t num_points;
  const T* x;          // [N, D]
  const T* along;      // [N, D], or null
  GridTable<T> table;  // read only for grad_x
  const T* grad_out;   // [N, L * F]
  T* grad_table;       // [entries, F] added to, or null
  T* grad_x;           // [N, D] out, or null
  void* scratch;       // of hash_grid_scratch_bytes_cuda, if grad_table shall have the same bits at every run; on the CPU it always has
};

// dims D in {2, 3}, features F in {1, 2, 4, 8}.
template <class T> void hash_grid_forward_cpu(const HashGridForward<T>& params, int dims, int features, int threads);
template <class T> void hash_grid_forward_cuda(const HashGridForward<T>& params, int dims, int features, void* stream);
template <class T> void hash_grid_backward_cpu(const HashGridBackward<T>& params, int dims, int features, int threads);
template <class T> void hash_grid_backward_cuda(const HashGridBackward<T>& params, int dims, int features, void* stream);
int64_t hash_grid_scratch_bytes_cuda(int64_t num_points, int dims);

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
