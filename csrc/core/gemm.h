// C (+)= A B for the small matrices of an MLP: B has at most a few hundred columns and stays in the first-level cache.
// A is addressed by two strides, so one routine serves x W, y W^T (with W^T laid out) and x^T y.
#pragma once
#include "core/simd.h"

#include <cstdint>

namespace nerfcore {

// Accumulators fill the register file: with 32 registers 6 x 4 vectors of C plus 4 of B; with 16, 6 x 2 plus 2.
constexpr int kGemmRows = 6;
constexpr int kGemmVectors = kSimdRegisters == 32 ? 4 : 2;

// ROWS x VECTORS block of C, k-loop innermost.
template <class T, int ROWS, int VECTORS>
inline void gemm_block(const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, int k, bool accumulate) {
  Simd<T> sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sum[i][v] = accumulate ? load(c + i * c_row + v * kLanes<T>) : Simd<T>{};
  for (int j = 0; j < k; ++j, a += a_k, b += b_k) {
    Simd<T> row[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) row[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Simd<T> x = broadcast(a[i * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sum[i][v] = fused_multiply_add(x, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) store(c + i * c_row + v * kLanes<T>, sum[i][v]);
}

template <class T, int VECTORS>
inline void gemm_panel(int m, int k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, bool accumulate) {
  int i = 0;
  for (; i + kGemmRows <= m; i += kGemmRows)
    gemm_block<T, kGemmRows, VECTORS>(a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row, k, accumulate);
  for (; i + 2 <= m; i += 2) gemm_block<T, 2, VECTORS>(a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row, k, accumulate);
  for (; i < m; ++i) gemm_block<T, 1, VECTORS>(a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row, k, accumulate);
}

// C[m, n] (+)= sum_j A[m, j] B[j, n]; A at a[i * a_row + j * a_k], B at b[j * b_k + n], C at c[i * c_row + n];
// n must be a multiple of the vector length: callers pad the columns of B and C.
template <class T>
inline void gemm(int m, int n, int k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row, bool accumulate) {
  int vectors = n / kLanes<T>;
  for (; vectors >= kGemmVectors; vectors -= kGemmVectors, b += kGemmVectors * kLanes<T>, c += kGemmVectors * kLanes<T>)
    gemm_panel<T, kGemmVectors>(m, k, a, a_row, a_k, b, b_k, c, c_row, accumulate);
  for (; vectors >= 2; vectors -= 2, b += 2 * kLanes<T>, c += 2 * kLanes<T>)
    gemm_panel<T, 2>(m, k, a, a_row, a_k, b, b_k, c, c_row, accumulate);
  if (vectors) gemm_panel<T, 1>(m, k, a, a_row, a_k, b, b_k, c, c_row, accumulate);
}

}  // namespace nerfcore
