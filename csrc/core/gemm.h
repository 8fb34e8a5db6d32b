// C (+)= A B for the small matrices of an MLP: B has at most a few hundred columns and stays in the first-level cache.
// A is addressed by two strides, so one routine serves x W, y W^T (with W^T laid out) and x^T y.
#pragma once
#include "core/simd.h"

#include <type_traits>

namespace nerfcore {

// 8 x 2 vectors of C leave room for B and the broadcasts among 32 registers; 6 x 2 among 16.
constexpr int kGemmRows = kSimdRegisters == 32 ? 8 : 6;
constexpr int kGemmVectors = 2;

// What becomes of a vector of C, given its row and first column, before it is stored.
struct Unchanged {
  template <class V> V operator()(V v, int, int) const { return v; }
};

// ROWS x VECTORS block of C at (row, column), k-loop innermost.
template <class T, int ROWS, int VECTORS, class Epilogue>
inline void gemm_block(const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, int k, bool accumulate,
                       const Epilogue& epilogue, int row, int column) {
  Simd<T> sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) sum[i][v] = accumulate ? load(c + i * c_row + v * kLanes<T>) : Simd<T>{};
  for (int j = 0; j < k; ++j, a += a_k, b += b_k) {
    Simd<T> b_row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) b_row[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Simd<T> x = broadcast(a[i * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) sum[i][v] = fused_multiply_add(x, b_row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v)
      store(c + i * c_row + v * kLanes<T>, epilogue(sum[i][v], row + i, column + v * kLanes<T>));
}

// Not inlined: in the middle of a large function the compiler runs out of registers for C.
template <class T, int VECTORS, class Epilogue>
__attribute__((noinline)) void gemm_panel(int m, int k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, bool accumulate,
                       const Epilogue& epilogue, int column) {
  int i = 0;
  const auto rows = [&](auto count) {
    constexpr int kRows = decltype(count)::value;
    for (; i + kRows <= m; i += kRows)
      gemm_block<T, kRows, VECTORS>(a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row, k, accumulate, epilogue, i, column);
  };
  rows(std::integral_constant<int, kGemmRows>());
  rows(std::integral_constant<int, 4>());
  rows(std::integral_constant<int, 1>());
}

// C[m, n] (+)= sum_j A[m, j] B[j, n]; A at a[i * a_row + j * a_k], B at b[j * b_k + n], C at c[i * c_row + n];
// n must be a multiple of the vector length: callers pad the columns of B and C.
template <class T, class Epilogue = Unchanged>
inline void gemm(int m, int n, int k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, bool accumulate,
                 const Epilogue& epilogue = {}) {
  constexpr int kStep = kGemmVectors * kLanes<T>;
  int column = 0;
  for (; column + kStep <= n; column += kStep)
    gemm_panel<T, kGemmVectors>(m, k, a, a_row, a_k, b + column, b_k, c + column, c_row, accumulate, epilogue, column);
  if (column < n) gemm_panel<T, 1>(m, k, a, a_row, a_k, b + column, b_k, c + column, c_row, accumulate, epilogue, column);
}

}  // namespace nerfcore
