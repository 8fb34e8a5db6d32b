// The CPU reads the volume once: it classifies plane after plane of constant x, and finds the vertices that start in a plane as
// soon as the next one is classified, with the samples of both still in the cache.
#include "kernels/marching_cubes.h"

#include "core/buffer.h"
#include "core/parallel.h"
#include "core/simd.h"

namespace nerfcore {
namespace {

// As ScanRows::classify, by vectors.
template <class T> void classify_row(const ScanRows<T>& p, int64_t row) {
  const int64_t words = p.bits.words();
  const Simd<T> iso = broadcast(p.iso);
  Simd<T> zeros = {};
  T rest = 0;
  for (int64_t w = 0; w < words; ++w) {
    const T* values = p.volume + row * p.bits.nz + w * kWordCells;
    uint64_t word = 0;
    if (p.bits.samples(w) < kWordSamples) {
      word = inside_bits(values, p.bits.samples(w), p.iso, &rest);
    } else {
#pragma GCC unroll 32
      for (int k = 0; k < kWordSamples; k += kLanes<T>) {
        const Simd<T> v = load(values + k);
        word |= uint64_t(lane_bits(v > iso)) << k;
        zeros = fused_multiply_add(v, Simd<T>{}, zeros);
      }
    }
    p.bits.inside[row * words + w] = word;
  }
  for (int i = 0; i < kLanes<T>; ++i) rest += zeros[i];
  p.finite[row] = rest == 0;
}

// Whether the surface is near, for each word of a plane: not zero where it passes the cells between the row, the next one and
// those at x + 1. At the border, where one of these is missing, a row stands in for it.
void find_surface(const VolumeBits& bits, int64_t x, uint64_t* near) {
  const int64_t words = bits.words(), inner = (bits.ny - 1) * words;
  const uint64_t *a = bits.inside + x * bits.ny * words, *b = x + 1 < bits.nx ? a + bits.ny * words : a;
  for (int64_t i = 0; i < inner; ++i) near[i] = surface_cells(a[i], a[i + words], b[i], b[i + words]);
  for (int64_t i = inner; i < inner + words; ++i) near[i] = surface_cells(a[i], a[i], b[i], b[i]);
}

}  // namespace

template <class T> void scan_rows_cpu(const ScanRows<T>& p, int threads) {
  const VolumeBits& bits = p.bits;
  const int64_t words = bits.words();
  const auto classify_plane = [&](int64_t x) {
    for (int64_t y = 0; y < bits.ny; ++y) classify_row(p, x * bits.ny + y);
  };
  // The first plane of each chunk goes first, because the chunk before needs it too.
  parallel_for(bits.nx, kChunkPlanes, threads, [&](int64_t begin, int64_t) { classify_plane(begin); });
  parallel_for(bits.nx, kChunkPlanes, threads, [&](int64_t begin, int64_t end) {
    Buffer<uint64_t> near(bits.ny * words);
    Buffer<T>& vertices = p.vertices[begin / kChunkPlanes];
    int64_t used = 0;
    for (int64_t x = begin; x < end; ++x) {
      if (x + 1 < end) classify_plane(x + 1);
      find_surface(bits, x, near.data());
      for (int64_t y = 0; y < bits.ny; ++y) {
        const int64_t row = x * bits.ny + y;
        int64_t from = 0, to = words;
        while (from < to && !near[y * words + from]) ++from;
        while (from < to && !near[y * words + to - 1]) --to;
        int64_t* crossed = p.num_crossed + 3 * row;
        crossed[0] = crossed[1] = crossed[2] = p.num_triangles[row] = 0;
        if (from == to) continue;
        p.count(row, from, to);
        const int64_t found = 3 * (crossed[0] + crossed[1] + crossed[2]);
        vertices.grow(used + found, used);
        p.find_vertices(row, from, to, vertices.data() + used);
        used += found;
      }
    }
  });
}

template <class T> void emit_rows_cpu(const EmitRows<T>& p, int threads) {
  const VolumeBits& bits = p.scan.bits;
  parallel_for(bits.nx, kChunkPlanes, threads, [&](int64_t begin, int64_t end) {
    const int64_t from = 3 * p.vertex_offset[3 * begin * bits.ny], to = 3 * p.vertex_offset[3 * end * bits.ny];
    if (from < to) std::memcpy(p.vertices + from, p.scan.vertices[begin / kChunkPlanes].data(), size_t(to - from) * sizeof(T));
    for (int64_t row = begin * bits.ny; row < end * bits.ny; ++row) p.emit_faces(row);
  });
}

template void scan_rows_cpu(const ScanRows<float>&, int);
template void scan_rows_cpu(const ScanRows<double>&, int);
template void emit_rows_cpu(const EmitRows<float>&, int);
template void emit_rows_cpu(const EmitRows<double>&, int);

}  // namespace nerfcore
