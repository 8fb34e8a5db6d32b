// Multi-resolution hash encoding: Müller et al. 2022, section 3, with the conventions of tiny-cuda-nn.
#pragma once
#include "core/dual.h"

namespace nerfcore {

constexpr int kMaxGridLevels = 32;

// Shape of the table, computed once in Python (nerfcore/ops/hash_grid.py) and passed by value.
struct GridLevels {
  int count;                             // L
  float scale[kMaxGridLevels];           // grid position = fma(x, scale, 0.5)
  uint32_t resolution[kMaxGridLevels];   // ceil(scale) + 1 corners along an axis
  uint32_t offset[kMaxGridLevels + 1];   // first entry of each level; entries are F features wide
  bool smooth;                           // weights are of grid_ease of the position in a cell, else of the position itself
};

// One axis: the cell that holds x and the position inside it. x is clamped to [0, 1]; a NaN stays in `fraction` only,
// so it can spoil values but never an address.
template <class T> NC_HD void grid_position(T x, T scale, uint32_t* cell, T* fraction) {
  const T position = std::fma(clamp(x, T(0), T(1)), scale, T(0.5));
  const T lower = std::floor(position);
  *cell = uint32_t(int32_t(lower));
  *fraction = x == x ? position - lower : x;
}

// Entry of a corner within its level. Dense levels are stored x fastest; a corner beyond the last one wraps as `% size` would.
template <int D> NC_HD uint32_t grid_entry(const uint32_t* corner, uint32_t resolution, uint32_t size, bool hashed) {
  constexpr uint32_t kPrimes[3] = {1u, 2654435761u, 805459861u};
  uint32_t hash = 0, dense = 0;
  for (int d = 0; d < D; ++d) hash ^= corner[d] * kPrimes[d];
  for (int d = D - 1; d >= 0; --d) dense = dense * resolution + corner[d];
  return hashed ? hash & (size - 1) : dense - (dense >= size ? size : 0u);
}

// A level is hashed when its corners do not fit its table.
template <int D> NC_HD bool grid_is_hashed(uint32_t resolution, uint32_t size) {
  uint64_t corners = 1;
  for (int d = 0; d < D; ++d) corners *= resolution;
  return corners > size;
}

// The cell of a point, and the position inside it.
template <class T, int D> NC_HD void grid_cell(const T* x, T scale, uint32_t* cell, T* fraction) {
  for (int d = 0; d < D; ++d) grid_position(x[d], scale, cell + d, fraction + d);
}

// The entry of one of the 2^D corners of a cell: bit d of its number says whether it is the far one along axis d.
template <int D> NC_HD uint32_t grid_corner_entry(const uint32_t* cell, int c, uint32_t resolution, uint32_t size, bool hashed) {
  uint32_t corner[D];
  for (int d = 0; d < D; ++d) corner[d] = cell[d] + (c >> d & 1);
  return grid_entry<D>(corner, resolution, size, hashed);
}

// The position in a cell as smooth weights see it (Müller et al. 2022, appendix A): no slope at the borders, so that the derivative of
// the interpolation has no jumps there. V, here and below: a number, a SIMD vector of them for as many points (core/lanes.h), or a dual
// of either (core/dual.h).
template <class V> NC_HD V grid_ease(V fraction) {
  using T = Element<V>;
  return fraction * fraction * (T(3) - T(2) * fraction);
}
template <class V> NC_HD V grid_ease_slope(V fraction) {
  using T = Element<V>;
  return T(6) * fraction * (T(1) - fraction);
}

// Interpolation weight of a corner: a product over the axes.
template <class V, int D> NC_HD V grid_weight(const V* fraction, int c) {
  using T = Element<V>;
  V w = c & 1 ? fraction[0] : T(1) - fraction[0];
  for (int d = 1; d < D; ++d) w = w * (c >> d & 1 ? fraction[d] : T(1) - fraction[d]);
  return w;
}

// The same of eased fractions, if it shall be smooth.
template <class V, int D> NC_HD V grid_weight(const V* fraction, bool smooth, int c) {
  if (!smooth) return grid_weight<V, D>(fraction, c);
  V eased[D];
  for (int d = 0; d < D; ++d) eased[d] = grid_ease(fraction[d]);
  return grid_weight<V, D>(eased, c);
}

// The same, or, if the point moves, its derivative along the tangent, in fractions.
template <class V, int D> NC_HD V grid_weight(const V* fraction, bool smooth, bool moves, const V* tangent, int c) {
  if (!moves) return grid_weight<V, D>(fraction, smooth, c);
  Dual<V> moving[D];
  for (int d = 0; d < D; ++d) moving[d] = {fraction[d], tangent[d]};
  return grid_weight<Dual<V>, D>(moving, smooth, c).slope;
}

// Adjoint of sum_c weight_c(fraction) value_c to the fractions.
template <class V, int D> NC_HD void grid_weights_backward(const V* fraction, const V* value, V* grad_fraction) {
  using T = Element<V>;
  for (int d = 0; d < D; ++d) {
    V sum{};
    for (int c = 0; c < (1 << D); ++c) {
      V w = splat<V>(c >> d & 1 ? T(1) : T(-1));
      for (int e = 0; e < D; ++e)
        if (e != d) w = w * (c >> e & 1 ? fraction[e] : T(1) - fraction[e]);
      sum = sum + w * value[c];
    }
    grad_fraction[d] = sum;
  }
}

// The same of eased fractions, if it shall be smooth.
template <class V, int D> NC_HD void grid_weights_backward(const V* fraction, bool smooth, const V* value, V* grad_fraction) {
  V eased[D];
  for (int d = 0; d < D; ++d) eased[d] = smooth ? grid_ease(fraction[d]) : fraction[d];
  grid_weights_backward<V, D>(eased, value, grad_fraction);
  for (int d = 0; smooth && d < D; ++d) grad_fraction[d] = grad_fraction[d] * grid_ease_slope(fraction[d]);
}

// The same, or its derivative along the tangent.
template <class V, int D>
NC_HD void grid_weights_backward(const V* fraction, bool smooth, bool moves, const V* tangent, const V* value, V* grad_fraction) {
  if (!moves) return grid_weights_backward<V, D>(fraction, smooth, value, grad_fraction);
  Dual<V> moving[D], constant[1 << D], grad[D];
  for (int d = 0; d < D; ++d) moving[d] = {fraction[d], tangent[d]};
  for (int c = 0; c < (1 << D); ++c) constant[c] = {value[c], V{}};
  grid_weights_backward<Dual<V>, D>(moving, smooth, constant, grad);
  for (int d = 0; d < D; ++d) grad_fraction[d] = grad[d].slope;
}

// The derivative of a fraction by its x, times a factor: along a direction, or back along a gradient. Zero where x is clamped.
template <class V> NC_HD V grid_position_derivative(V x, Element<V> scale, V factor) {
  return select((x >= V{}) & (x <= Element<V>(1)), scale * factor, V{});
}

}  // namespace nerfcore
