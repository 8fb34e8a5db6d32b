// Marching cubes (Lorensen and Cline 1987) in the row-wise two-pass form of flying edges (Schroeder, Maynard and Geveci 2015),
// on one bit per sample: 64 cells are classified, and their edge crossings counted, by a few word operations.
//
// Numbering, shared with nerfcore/ops/marching_cubes.py that derives the table: corner 4 dx + 2 dy + dz of a cell; its edges are
// 0-3 along x, 4-7 along y, 8-11 along z, each four ordered by the offset of their lower corner.
#pragma once
#include "core/platform.h"

namespace nerfcore {

constexpr int kWordBits = 64;
constexpr int kTriangleRow = 16;  // a row of the table: number of triangles, then three edges each

NC_HD int count_bits(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

NC_HD int lowest_bit(uint64_t word) {  // word != 0
#ifdef __CUDA_ARCH__
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

NC_HD uint64_t bits_below(int n) { return n < kWordBits ? (uint64_t(1) << n) - 1 : ~uint64_t(0); }  // bits 0 .. n - 1

// Bit k says whether values[k] is inside, that is above iso; count <= 64.
template <class T> NC_HD uint64_t inside_bits(const T* values, int count, T iso) {
  uint64_t word = 0;
  for (int k = 0; k < count; ++k) word |= uint64_t(values[k] > iso) << k;
  return word;
}

// Where the value passes iso between two neighbouring samples, one of them inside: 0 at a, 1 at b. Clamped, for values whose
// difference overflows.
template <class T> NC_HD T crossing_at(T a, T b, T iso) { return clamp((iso - a) / (b - a), T(0), T(1)); }

// The inside bits of the four rows of samples along z around 64 cells, in the order (0, 0), (0, 1), (1, 0), (1, 1) of (dx, dy):
// `here` at the lower end of each cell, `next` at its upper end.
struct CellBits {
  uint64_t here[4], next[4];

  NC_HD uint64_t surface() const {  // cells with corners on both sides
    uint64_t any = 0, all = ~uint64_t(0);
    for (int row = 0; row < 4; ++row) any |= here[row] | next[row], all &= here[row] & next[row];
    return any & ~all;
  }
  NC_HD int cell_case(int k) const {  // bit c: corner c is inside
    unsigned corners = 0;
    for (int row = 0; row < 4; ++row) corners |= unsigned((here[row] >> k & 1) | (next[row] >> k & 1) << 1) << 2 * row;
    return int(corners);
  }
};

// The eight kinds of edge that start at the lower end of a cell: x edges of rows (0, 0), (0, 1), y edges of (0, 0), (1, 0), z edges
// of all four.
constexpr int kStreams = 8;

NC_HD void stream_crossings(const CellBits& bits, uint64_t* crossings) {
  const uint64_t* a = bits.here;
  crossings[0] = a[0] ^ a[2], crossings[1] = a[1] ^ a[3];
  crossings[2] = a[0] ^ a[1], crossings[3] = a[2] ^ a[3];
  for (int row = 0; row < 4; ++row) crossings[4 + row] = a[row] ^ bits.next[row];
}

// Vertices on the twelve edges of cell k, from the index of the first vertex of each stream in this word. Edges without a crossing
// get a meaningless number.
NC_HD void edge_vertices(const int64_t* first, const uint64_t* crossings, int k, int64_t* vertex) {
  for (int s = 0; s < 4; ++s) {  // x and y edges: at both ends of the cell
    vertex[2 * s] = first[s] + count_bits(crossings[s] & bits_below(k));
    vertex[2 * s + 1] = vertex[2 * s] + int64_t(crossings[s] >> k & 1);
  }
  for (int s = 4; s < kStreams; ++s) vertex[4 + s] = first[s] + count_bits(crossings[s] & bits_below(k));
}

}  // namespace nerfcore
