#pragma once
#include "math/marching_cubes.h"

namespace nerfcore {

// A row is the run of Z samples along z at one (x, y); rows are numbered x * Y + y. The three passes run one after the other, each
// over all rows, with an exclusive prefix sum of the counts between the second and the third.
struct VolumeBits {
  int64_t nx, ny, nz;  // samples along each axis
  uint64_t* inside;    // [X * Y, words()] one bit per sample; bits past Z are 0

  NC_HD int64_t words() const { return (nz + kWordBits - 1) / kWordBits; }
  NC_HD uint64_t word(int64_t row, int64_t w) const { return inside[row * words() + w]; }
  NC_HD uint64_t shifted(int64_t row, int64_t w) const {  // bit k: the sample at k + 1
    return word(row, w) >> 1 | (w + 1 < words() ? word(row, w + 1) << (kWordBits - 1) : 0);
  }
  NC_HD uint64_t has_next(int64_t w) const {  // bit k: there is a sample at k + 1
    const int64_t left = nz - 1 - w * kWordBits;
    return bits_below(int(left < kWordBits ? left : kWordBits));
  }
  NC_HD CellBits cells(int64_t row, int64_t w) const {
    CellBits bits;
    for (int r = 0; r < 4; ++r) {
      const int64_t at = row + (r >> 1) * ny + (r & 1);
      bits.here[r] = word(at, w), bits.next[r] = shifted(at, w);
    }
    return bits;
  }
};

template <class T> struct ClassifyRows {
  VolumeBits bits;  // inside is written
  const T* volume;  // [X, Y, Z]
  T iso;

  NC_HD void operator()(int64_t row) const {
    for (int64_t w = 0; w < bits.words(); ++w) {
      const int64_t left = bits.nz - w * kWordBits;
      bits.inside[row * bits.words() + w] =
          inside_bits(volume + row * bits.nz + w * kWordBits, int(left < kWordBits ? left : kWordBits), iso);
    }
  }
};

struct CountRows {
  VolumeBits bits;
  const int8_t* table;   // [256, kTriangleRow]
  int64_t* num_crossed;  // [X * Y, 3] out: crossed edges along x, y, z that start in the row
  int64_t* num_faces;    // [X * Y] out: triangles of the cells that start in the row

  NC_HD void operator()(int64_t row) const {
    const bool has_x = row / bits.ny + 1 < bits.nx, has_y = row % bits.ny + 1 < bits.ny;
    int64_t crossed[3] = {}, faces = 0;
    for (int64_t w = 0; w < bits.words(); ++w) {
      const uint64_t here = bits.word(row, w);
      if (has_x) crossed[0] += count_bits(here ^ bits.word(row + bits.ny, w));
      if (has_y) crossed[1] += count_bits(here ^ bits.word(row + 1, w));
      crossed[2] += count_bits((here ^ bits.shifted(row, w)) & bits.has_next(w));
      if (!has_x || !has_y) continue;
      const CellBits cells = bits.cells(row, w);
      for (uint64_t left = cells.surface() & bits.has_next(w); left; left &= left - 1)
        faces += table[cells.cell_case(lowest_bit(left)) * kTriangleRow];
    }
    for (int axis = 0; axis < 3; ++axis) num_crossed[3 * row + axis] = crossed[axis];
    num_faces[row] = faces;
  }
};

template <class T> struct EmitRows {
  VolumeBits bits;
  const T* volume;               // [X, Y, Z]
  T iso;
  const int8_t* table;           // [256, kTriangleRow]
  const int64_t* vertex_offset;  // [X * Y * 3 + 1] prefix sum of num_crossed
  const int64_t* face_offset;    // [X * Y + 1] prefix sum of num_faces
  T* vertices;                   // [V, 3] out, in samples
  int64_t* faces;                // [F, 3] out

  NC_HD void emit_vertices(int64_t row) const {
    const int64_t step[3] = {bits.ny * bits.nz, bits.nz, 1}, row_step[2] = {bits.ny, 1};
    for (int axis = 0; axis < 3; ++axis) {
      int64_t v = vertex_offset[3 * row + axis];
      const int64_t end = vertex_offset[3 * row + axis + 1];
      for (int64_t w = 0; v < end; ++w) {
        uint64_t left = bits.word(row, w);
        left = axis < 2 ? left ^ bits.word(row + row_step[axis], w) : (left ^ bits.shifted(row, w)) & bits.has_next(w);
        for (; left; left &= left - 1, ++v) {
          const int64_t k = w * kWordBits + lowest_bit(left);
          const T* a = volume + row * bits.nz + k;
          vertices[3 * v] = T(row / bits.ny), vertices[3 * v + 1] = T(row % bits.ny), vertices[3 * v + 2] = T(k);
          vertices[3 * v + axis] += crossing_at(a[0], a[step[axis]], iso);
        }
      }
    }
  }

  NC_HD void emit_faces(int64_t row) const {
    int64_t f = face_offset[row];
    const int64_t end = face_offset[row + 1], right = row + 1, back = row + bits.ny;  // rows at y + 1 and at x + 1
    if (f == end) return;
    int64_t first[kStreams] = {vertex_offset[3 * row],     vertex_offset[3 * right],     vertex_offset[3 * row + 1],
                               vertex_offset[3 * back + 1], vertex_offset[3 * row + 2],  vertex_offset[3 * right + 2],
                               vertex_offset[3 * back + 2], vertex_offset[3 * back + 5]};
    for (int64_t w = 0; f < end; ++w) {
      const CellBits cells = bits.cells(row, w);
      uint64_t crossings[kStreams];
      stream_crossings(cells, crossings);
      for (int s = 4; s < kStreams; ++s) crossings[s] &= bits.has_next(w);
      for (uint64_t left = cells.surface() & bits.has_next(w); left; left &= left - 1) {
        const int k = lowest_bit(left);
        int64_t vertex[12];
        edge_vertices(first, crossings, k, vertex);
        const int8_t* triangles = table + cells.cell_case(k) * kTriangleRow;
        for (int n = 0; n < 3 * triangles[0]; ++n) faces[3 * f + n] = vertex[int(triangles[1 + n])];
        f += triangles[0];
      }
      for (int s = 0; s < kStreams; ++s) first[s] += count_bits(crossings[s]);
    }
  }

  NC_HD void operator()(int64_t row) const {
    emit_vertices(row);
    emit_faces(row);
  }
};

template <class T> void classify_rows_cpu(const ClassifyRows<T>& params, int64_t num_rows, int threads);
template <class T> void classify_rows_cuda(const ClassifyRows<T>& params, int64_t num_rows, void* stream);
void count_rows_cpu(const CountRows& params, int64_t num_rows, int threads);
void count_rows_cuda(const CountRows& params, int64_t num_rows, void* stream);
template <class T> void emit_rows_cpu(const EmitRows<T>& params, int64_t num_rows, int threads);
template <class T> void emit_rows_cuda(const EmitRows<T>& params, int64_t num_rows, void* stream);

}  // namespace nerfcore
