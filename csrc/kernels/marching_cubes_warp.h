// A warp takes a row, and its lanes what lies side by side along it: samples when they are classified, words when the surface in them
// is counted, and then, word by word, cells. The bits of a word number all of its vertices: a lane counts those in front of its own.
#pragma once
#include "core/warp.h"
#include "kernels/marching_cubes.h"

namespace nerfcore {

constexpr int kRowLanes = 32;
template <class T> using RowLanes = Warp<T, kRowLanes>;

template <class T> struct ClassifyRow {
  ScanRows<T> scan;

  NC_HD void operator()(int64_t row) const {
    const VolumeBits& bits = scan.bits;
    const T* values = scan.volume + row * bits.nz;
    RowLanes<bool> finite = true;
    for (int64_t w = 0; w < bits.words(); ++w) {
      uint64_t word = 0;
      for (int half = 0; half < kWordSamples; half += kRowLanes) {
        const auto v = RowLanes<T>::of([&](int lane) { return values[min_of(w * kWordCells + half + lane, bits.nz - 1)]; });
        word |= uint64_t(lane_bits(v > RowLanes<T>(scan.iso))) << half;
        finite = finite & (v - v == RowLanes<T>(T(0)));
      }
      bits.inside[row * bits.words() + w] = word;
    }
    scan.finite[row] = !any(not_of(finite));
  }
};

template <class T> struct CountRow {
  ScanRows<T> scan;

  NC_HD void operator()(int64_t row) const {
    const int64_t words = scan.bits.words(), next_x = scan.bits.next_x(row), next_y = scan.bits.next_y(row);
    RowLanes<int64_t> crossed[3] = {}, triangles{};
    for (int64_t first = 0; first < words; first += kRowLanes)
      for_lanes<kRowLanes>([&](int lane) {
        if (first + lane >= words) return;
        int64_t found[3] = {};
        triangles[lane] += scan.count_word(row, next_x, next_y, first + lane, found);
        for (int axis = 0; axis < 3; ++axis) crossed[axis][lane] += found[axis];
      });
    using Lanes = Neighbors<RowLanes<int64_t>>;
    for (int axis = 0; axis < 3; ++axis) scan.num_crossed[3 * row + axis] = Lanes::sum(crossed[axis]);
    scan.num_triangles[row] = Lanes::sum(triangles);
  }
};

template <class T> struct EmitRow {
  EmitRows<T> emit;

  NC_HD void operator()(int64_t row) const {
    const ScanRows<T>& scan = emit.scan;
    const VolumeBits& bits = scan.bits;
    const int64_t *here = emit.vertex_offset + 3 * row, num_faces = emit.face_offset[row + 1] - emit.face_offset[row];
    if (here[0] == here[3] && num_faces == 0) return;
    // At the border of the volume a row stands in for those that are missing, to which it has no crossed edges.
    const int64_t right = bits.next_y(row), back = bits.next_x(row), around[4] = {row, right, back, bits.next_x(right)};
    int64_t vertex[kRunningEdges], face = emit.face_offset[row];
    for (int e = 0; e < kRunningEdges; ++e) vertex[e] = emit.vertex_offset[3 * around[running_row(e)] + running_axis(e)];

    for (int64_t first = 0; first < bits.words(); first += kRowLanes) {
      RowLanes<uint64_t> words[4];
      for (int r = 0; r < 4; ++r)
        words[r] = RowLanes<uint64_t>::of([&](int lane) { return first + lane < bits.words() ? bits.word(around[r], first + lane) : 0; });
      const auto crosses = RowLanes<bool>::of([&](int lane) {  // whatever starts or ends in the word's cells
        const uint64_t all = words[0][lane] & words[1][lane] & words[2][lane] & words[3][lane];
        return all != (words[0][lane] | words[1][lane] | words[2][lane] | words[3][lane]) || (all != 0 && ~all != 0);
      });
      for (uint32_t left = lane_bits(crosses); left; left &= left - 1) {
        const int source = lowest_bit(left);
        uint64_t rows[4], crossed[kRunningEdges];
        for (int r = 0; r < 4; ++r) rows[r] = Neighbors<RowLanes<uint64_t>>::at(words[r], source);
        crossed_edges(rows, crossed);
        emit_word(row, first + source, rows, crossed, vertex, num_faces > 0 ? &face : nullptr);
        for (int e = 0; e < kRunningEdges; ++e) vertex[e] += count_bits(crossed[e] & bits_below(kWordCells));
      }
    }
  }

  // A lane for each cell: its triangles, and the vertices on the edges that start at the row's own sample. vertex: the running numbers
  // at the word's first cell; face: where its triangles go, or null where the row has no cells.
  NC_HD void emit_word(int64_t row, int64_t w, const uint64_t* rows, const uint64_t* crossed, const int64_t* vertex, int64_t* face) const {
    const ScanRows<T>& scan = emit.scan;
    const VolumeBits& bits = scan.bits;
    const uint64_t surface = surface_cells(rows[0], rows[1], rows[2], rows[3]) & bits.cells(w);
    const T x = T(row / bits.ny), y = T(row % bits.ny);
    for (int half = 0; half < kWordSamples; half += kRowLanes) {
      for_lanes<kRowLanes>([&](int lane) {
        const int k = half + lane;
        for (int axis = 0; axis < 3; ++axis) {
          const uint64_t edges = crossed[2 * axis] & (axis < 2 ? bits.own(w) : bits.cells(w));
          if (edges >> k & 1)
            scan.place_vertex(row, x, y, w * kWordCells + k, axis, emit.vertices + 3 * (vertex[2 * axis] + count_bits(edges & bits_below(k))));
        }
      });
      if (!face) continue;
      const auto triangles = RowLanes<int>::of([&](int lane) {
        return surface >> (half + lane) & 1 ? int(scan.table[cell_case(rows, half + lane)].num_triangles) : 0;
      });
      const auto before = Neighbors<RowLanes<int>>::sum_in_front(triangles);
      for_lanes<kRowLanes>([&](int lane) {
        if (triangles[lane] == 0) return;
        const int k = half + lane;
        const CellCase& cell = scan.table[cell_case(rows, k)];
        int64_t number[2 * kRunningEdges], *out = emit.faces + 3 * (*face + before[lane]);
        for (int e = 0; e < kRunningEdges; ++e) {
          number[e] = vertex[e] + count_bits(crossed[e] & bits_below(k));
          number[kRunningEdges + e] = number[e] + cell.crossed[e];
        }
        for (int n = 0; n < 3 * triangles[lane]; ++n) out[n] = number[int(cell.edges[n])];
      });
      *face += Neighbors<RowLanes<int>>::sum(triangles);
    }
  }
};

}  // namespace nerfcore
