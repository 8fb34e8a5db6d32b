// Multilinear interpolation between the corners of a regular grid that spans [0, 1]^D: the first corner of an axis lies at 0, the last
// at 1. Weights, their derivatives and their adjoint are those of math/hash_grid.h.
#pragma once
#include "math/hash_grid.h"

namespace nerfcore {

// Where the values of the corners lie. Every grid of a batch has the same shape; they lie end to end.
struct CornerLayout {
  int64_t size[3];       // corners along each axis, at least 2; the last axis is the fastest
  const int32_t* links;  // of a grid with gaps: the row of each corner; null: rows are the corners in their order
  int64_t num_rows;      // links outside [0, num_rows) name no row: the corner is empty, its value zero
};

template <int D> NC_HD int64_t corners_of(const CornerLayout& layout) {
  int64_t corners = 1;
  for (int d = 0; d < D; ++d) corners *= layout.size[d];
  return corners;
}

// The cell of a point, clamped to the grid, and the position inside. A NaN stays in the fraction: it can spoil values, never an address.
template <class T, int D> struct CornerCell {
  int64_t first[D];  // the corner with the smallest coordinates
  T fraction[D], tangent[D];
  bool moves;

  // along: null, or the direction that weights shall be differentiated along.
  NC_HD CornerCell(const CornerLayout& layout, const T* x, const T* along) : moves(along) {
    for (int d = 0; d < D; ++d) {
      const T scale = T(layout.size[d] - 1), position = clamp(x[d], T(0), T(1)) * scale;
      const T lower = min_of(std::floor(position), scale - T(1));
      first[d] = int64_t(lower);
      fraction[d] = x[d] == x[d] ? position - lower : x[d];
      tangent[d] = moves ? grid_position_derivative(x[d], scale, along[d]) : T(0);
    }
  }

  // The row of one of the 2^D corners, below 0 if it is empty. Bit d of its number says whether it is the far one along axis d.
  NC_HD int64_t row(const CornerLayout& layout, int c) const {
    int64_t index = 0;
    for (int d = 0; d < D; ++d) index = index * layout.size[d] + first[d] + (c >> d & 1);
    if (!layout.links) return index;
    const int64_t link = layout.links[index];
    return link < layout.num_rows ? link : -1;
  }

  NC_HD T weight(int c) const { return grid_weight<T, D>(fraction, false, moves, tangent, c); }

  // The number of the one corner whose coordinates are even or odd as the bits of `parity` say.
  NC_HD int corner_of(int parity) const {
    int c = 0;
    for (int d = 0; d < D; ++d) c |= int((first[d] ^ (parity >> d)) & 1) << d;
    return c;
  }

  // grad_x[D] of sum_c weight(c) value[c].
  NC_HD void position_gradient(const CornerLayout& layout, const T* x, const T* value, T* grad_x) const {
    T grad_fraction[D];
    grid_weights_backward<T, D>(fraction, false, moves, tangent, value, grad_fraction);
    for (int d = 0; d < D; ++d) grad_x[d] = grid_position_derivative(x[d], T(layout.size[d] - 1), grad_fraction[d]);
  }
};

}  // namespace nerfcore
