// Marching cubes (Lorensen and Cline 1987) in the row-wise form of flying edges (Schroeder, Maynard and Geveci 2015), on one bit
// per sample: a word of 64 samples along z says which of the 63 cells between them the surface passes.
//
// A cell's corner 4 dx + 2 dy + dz is bit dz of row 2 dx + dy of the four rows of samples around it. Eight of its edges start at
// its lower end: along x at y and y + 1, along y at x and x + 1, along z from the corner of each row; its edges 8 to 11 repeat the
// first four at its upper end. Along a row of cells the vertices on each of the eight are numbered one after the other, so that
// eight running numbers, each advanced by the cells whose edge is crossed, give all the vertices of a cell.
#pragma once
#include "core/platform.h"

namespace nerfcore {

constexpr int kWordSamples = 64, kWordCells = kWordSamples - 1;
constexpr int kRunningEdges = 8;

// What the table holds for each of the 256 cases; bit c of a case: corner c is inside.
struct CellCase {
  int8_t num_triangles, edges[15];  // three edges for each triangle
  int8_t crossed[kRunningEdges];    // 1 for an edge that is crossed, else 0
};

NC_HD uint64_t bits_below(int64_t n) { return n < 64 ? (uint64_t(1) << n) - 1 : ~uint64_t(0); }  // bits 0 .. n - 1

// Bit k says whether values[k] is inside, that is above iso; 0 < count <= 64, and bits past it repeat the last. A value that is not
// finite makes `zeros` a NaN.
template <class T> NC_HD uint64_t inside_bits(const T* values, int64_t count, T iso, T* zeros) {
  uint64_t word = 0;
  for (int64_t k = 0; k < count; ++k) word |= uint64_t(values[k] > iso) << k, *zeros += T(0) * values[k];
  return values[count - 1] > iso ? word | ~bits_below(count) : word;
}

// Where the value passes iso between two neighbouring samples, one of them inside: 0 at a, 1 at b. Clamped, for values whose
// difference overflows.
template <class T> NC_HD T crossing_at(T a, T b, T iso) { return clamp((iso - a) / (b - a), T(0), T(1)); }

// The cells with corners on both sides, from the words of their four rows.
NC_HD uint64_t surface_cells(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  const uint64_t any = a | b | c | d, all = a & b & c & d;
  return (any | any >> 1) & ~(all & all >> 1) & bits_below(kWordCells);
}

// On which of the four rows around a cell a running edge starts, and along which axis.
NC_HD int running_row(int edge) { return edge < 2 ? edge : edge < 4 ? 2 * (edge - 2) : edge - 4; }
NC_HD int running_axis(int edge) { return edge < 4 ? edge / 2 : 2; }

// Bit k of crossed[e]: cell k's running edge e is crossed.
NC_HD void crossed_edges(const uint64_t* rows, uint64_t* crossed) {
  for (int e = 0; e < kRunningEdges; ++e) {
    const uint64_t from = rows[running_row(e)], to = e < 2 ? rows[e + 2] : e < 4 ? rows[running_row(e) + 1] : from >> 1;
    crossed[e] = from ^ to;
  }
}

NC_HD int cell_case(const uint64_t* rows, int k) {
  unsigned corners = 0;
  for (int row = 0; row < 4; ++row) corners |= unsigned(rows[row] >> k & 3) << 2 * row;
  return int(corners);
}

}  // namespace nerfcore
