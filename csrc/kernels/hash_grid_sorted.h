// The gradient of a table with the same bits at every run: what the points add to the entries of a level is listed, sorted by entry,
// and summed in the order of the list. Host and device, but for the sorting.
#pragma once
#include "kernels/hash_grid.h"

namespace nerfcore {

constexpr int kSumLanes = 32;  // add up an entry's parts, one after another each, and then their sums two by two

// Position of the first of n ascending keys that is not below `key`.
NC_HD int64_t first_not_below(const uint32_t* keys, int64_t n, uint32_t key) {
  int64_t begin = 0;
  while (n > 0) {
    const int64_t half = n / 2;
    if (keys[begin + half] < key) begin += half + 1, n -= half + 1;
    else n = half;
  }
  return begin;
}

// How many of the lowest bits tell numbers below `size` apart.
NC_HD int bits_below(uint32_t size) {
  int bits = 0;
  while (bits < 32 && (uint64_t(1) << bits) < size) ++bits;
  return bits;
}

// A part is what one point adds to one corner of its cell: part corner * N + point.
template <class T, int D, int F> struct SortedLevel {
  HashGridBackward<T> p;
  int level;

  NC_HD uint32_t size() const { return p.levels.offset[level + 1] - p.levels.offset[level]; }
  NC_HD int64_t num_parts() const { return p.num_points << D; }

  // entry, part [num_parts]: the list, unsorted, as far as it is of this point.
  NC_HD void list(int64_t point, uint32_t* entry, uint32_t* part) const {
    uint32_t cell[D];
    T fraction[D];
    grid_cell<T, D>(p.x + point * D, T(p.levels.scale[level]), cell, fraction);
    const uint32_t resolution = p.levels.resolution[level];
    for (int c = 0; c < (1 << D); ++c) {
      entry[c * p.num_points + point] = grid_corner_entry<D>(cell, c, resolution, size(), grid_is_hashed<D>(resolution, size()));
      part[c * p.num_points + point] = uint32_t(c * p.num_points + point);
    }
  }

  // sum [F] += every kSumLanes-th of the parts [begin, end) of the sorted list, from `lane` on.
  NC_HD void add_parts(const uint32_t* part, int64_t begin, int64_t end, int lane, T* sum) const {
    for (int64_t i = begin + lane; i < end; i += kSumLanes) {
      const int c = int(part[i] / p.num_points);
      const int64_t point = part[i] % p.num_points;
      const T scale = T(p.levels.scale[level]), *x = p.x + point * D, *grad_out = p.grad_out + (point * p.levels.count + level) * F;
      uint32_t cell[D];
      T fraction[D], tangent[D] = {};
      grid_cell<T, D>(x, scale, cell, fraction);
      for (int d = 0; d < D; ++d)
        if (p.along) tangent[d] = grid_position_derivative(x[d], scale, p.along[point * D + d]);
      const T weight = grid_weight<T, D>(fraction, p.levels.smooth, p.along, tangent, c);
      for (int f = 0; f < F; ++f) sum[f] += weight * grad_out[f];
    }
  }
};

}  // namespace nerfcore
