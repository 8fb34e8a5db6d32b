#pragma once
#include "math/marching_cubes.h"

namespace nerfcore {

template <class T> class Buffer;

// A row is the run of Z samples along z at one (x, y); rows are numbered x * Y + y.
struct VolumeBits {
  int64_t nx, ny, nz;  // samples along each axis
  uint64_t* inside;    // [X * Y, words()] a bit a sample; neighbouring words share one; bits past Z repeat the last

  NC_HD int64_t words() const { return (nz - 2) / kWordCells + 1; }
  NC_HD int64_t samples(int64_t w) const { return min_of<int64_t>(kWordSamples, nz - w * kWordCells); }
  NC_HD uint64_t cells(int64_t w) const { return bits_below(samples(w) - 1); }
  NC_HD uint64_t own(int64_t w) const { return bits_below(w + 1 < words() ? kWordCells : samples(w)); }  // not the next word's
  NC_HD uint64_t word(int64_t row, int64_t w) const { return inside[row * words() + w]; }

  // The row at x + 1 or y + 1; at the border, where there is none, the row itself, to which it has no crossed edges.
  NC_HD int64_t next_x(int64_t row) const { return row + ny < nx * ny ? row + ny : row; }
  NC_HD int64_t next_y(int64_t row) const { return (row + 1) % ny != 0 ? row + 1 : row; }
  // Bit k: the edge that starts at sample k of the word, to the next row or along the row, is crossed.
  NC_HD uint64_t crossed_to(int64_t next, int64_t row, int64_t w) const { return (word(row, w) ^ word(next, w)) & own(w); }
  NC_HD uint64_t crossed_along(int64_t row, int64_t w) const { return (word(row, w) ^ word(row, w) >> 1) & cells(w); }
  // The words of the four rows around cells, and which of the cells the surface passes.
  NC_HD uint64_t surface(int64_t row, int64_t w, uint64_t* rows) const {
    for (int r = 0; r < 4; ++r) rows[r] = word(row + (r >> 1) * ny + (r & 1), w);
    return surface_cells(rows[0], rows[1], rows[2], rows[3]) & cells(w);
  }
};

// The first pass: on which side the samples are, and how much of the surface is in each row.
template <class T> struct ScanRows {
  VolumeBits bits;         // inside is written
  const T* volume;         // [X, Y, Z]
  T iso;
  const CellCase* table;   // [256]
  bool* finite;            // [X * Y] out: whether all samples of the row are
  int64_t* num_crossed;    // [X * Y, 3] out: crossed edges along x, y, z that start in the row
  int64_t* num_triangles;  // [X * Y] out: of the cells that start in the row
  Buffer<T>* vertices;     // [vertex_chunks(X)] out, on the CPU alone, which finds them while the samples are in the cache

  NC_HD void classify(int64_t row) const {
    T zeros = 0;
    for (int64_t w = 0; w < bits.words(); ++w)
      bits.inside[row * bits.words() + w] = inside_bits(volume + row * bits.nz + w * kWordCells, bits.samples(w), iso, &zeros);
    finite[row] = zeros == 0;
  }

  // All of the row's surface is in the words [begin, end).
  NC_HD void count(int64_t row, int64_t begin, int64_t end) const {
    int64_t crossed[3] = {}, triangles = 0;
    const int64_t next_x = bits.next_x(row), next_y = bits.next_y(row);
    for (int64_t w = begin; w < end; ++w) triangles += count_word(row, next_x, next_y, w, crossed);
    for (int axis = 0; axis < 3; ++axis) num_crossed[3 * row + axis] = crossed[axis];
    num_triangles[row] = triangles;
  }

  // Adds the crossed edges of a word; returns its triangles.
  NC_HD int64_t count_word(int64_t row, int64_t next_x, int64_t next_y, int64_t w, int64_t* crossed) const {
    crossed[0] += count_bits(bits.crossed_to(next_x, row, w));
    crossed[1] += count_bits(bits.crossed_to(next_y, row, w));
    crossed[2] += count_bits(bits.crossed_along(row, w));
    if (next_x == row || next_y == row) return 0;
    int64_t triangles = 0;
    uint64_t rows[4];
    for (uint64_t left = bits.surface(row, w, rows); left; left &= left - 1)
      triangles += table[cell_case(rows, lowest_bit(left))].num_triangles;
    return triangles;
  }

  // The vertices on the edges that start in the row, by axis and then by z.
  NC_HD void find_vertices(int64_t row, int64_t begin, int64_t end, T* vertex) const {
    const int64_t next[2] = {bits.next_x(row), bits.next_y(row)};
    const T x = T(row / bits.ny), y = T(row % bits.ny);
    for (int axis = 0; axis < 3; ++axis) {
      for (int64_t w = begin; w < end; ++w) {
        uint64_t left = axis < 2 ? bits.crossed_to(next[axis], row, w) : bits.crossed_along(row, w);
        for (; left; left &= left - 1, vertex += 3) place_vertex(row, x, y, w * kWordCells + lowest_bit(left), axis, vertex);
      }
    }
  }

  // The vertex on the edge along `axis` that starts at sample z of the row, which is at (x, y).
  NC_HD void place_vertex(int64_t row, T x, T y, int64_t z, int axis, T* vertex) const {
    const int64_t step[3] = {bits.ny * bits.nz, bits.nz, 1};
    const T* a = volume + row * bits.nz + z;
    vertex[0] = x, vertex[1] = y, vertex[2] = T(z);
    vertex[axis] += crossing_at(a[0], a[step[axis]], iso);
  }
};

// The second pass, after an exclusive prefix sum of the counts.
template <class T> struct EmitRows {
  ScanRows<T> scan;
  const int64_t* vertex_offset;  // [X * Y * 3 + 1] prefix sum of num_crossed
  const int64_t* face_offset;    // [X * Y + 1] prefix sum of num_triangles
  T* vertices;                   // [V, 3] out, in samples
  int64_t* faces;                // [F, 3] out

  NC_HD void emit_faces(int64_t row) const {
    const VolumeBits& bits = scan.bits;
    const int64_t *here = vertex_offset + 3 * row, *right = here + 3, *back = here + 3 * bits.ny;  // rows at y + 1 and at x + 1
    int64_t *face = faces + 3 * face_offset[row], *end = faces + 3 * face_offset[row + 1];
    if (face == end) return;
    int64_t vertex[2 * kRunningEdges] = {here[0], right[0], here[1], back[1], here[2], right[2], back[2], back[5]};
    for (int64_t w = 0; face < end; ++w) {
      uint64_t rows[4];
      for (uint64_t left = bits.surface(row, w, rows); left; left &= left - 1) {
        const CellCase& cell = scan.table[cell_case(rows, lowest_bit(left))];
        for (int e = 0; e < kRunningEdges; ++e) vertex[kRunningEdges + e] = vertex[e] + cell.crossed[e];
        for (int n = 0; n < 3 * cell.num_triangles; ++n) face[n] = vertex[int(cell.edges[n])];
        for (int e = 0; e < kRunningEdges; ++e) vertex[e] = vertex[kRunningEdges + e];
        face += 3 * cell.num_triangles;
      }
    }
  }
};

// How many buffers of vertices the CPU fills.
constexpr int64_t kChunkPlanes = 16;  // planes of constant x
inline int64_t vertex_chunks(int64_t nx) { return (nx + kChunkPlanes - 1) / kChunkPlanes; }

template <class T> void scan_rows_cpu(const ScanRows<T>& params, int threads);
template <class T> void scan_rows_cuda(const ScanRows<T>& params, void* stream);
template <class T> void emit_rows_cpu(const EmitRows<T>& params, int threads);
template <class T> void emit_rows_cuda(const EmitRows<T>& params, void* stream);

}  // namespace nerfcore
