// Density cells kept as a decaying maximum, and the bits made from them: Müller et al. 2022, appendix E.2.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// A cell below 0 was never seen by a camera and stays as it is; a density that is not finite is no evidence either way.
template <class T> NC_HD bool occupancy_counts(T cell, T density) { return cell >= T(0) && density - density == T(0); }

// Scatters consecutive numbers evenly over all 32-bit numbers, one to one (two rounds of multiply and shift).
NC_HD uint32_t scatter_bits(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

// Jitter of a cell in [0, 1)^3, in steps of 2^-10.
template <class T> NC_HD void occupancy_jitter(uint32_t cell, uint32_t seed, T* jitter) {
  const uint32_t bits = scatter_bits(scatter_bits(cell) ^ seed);
  for (int d = 0; d < 3; ++d) jitter[d] = T(bits >> 10 * d & 1023) * T(0.0009765625);
}

// From a place within a cell, x in [0, 1)^3, to the same place in the box; cascades of (2^log2_resolution)^3 cells, x fastest.
template <class T> NC_HD void occupancy_cell_point(uint32_t cell, int log2_resolution, int cascades, T* x) {
  const uint32_t resolution = 1u << log2_resolution;
  const T side = T(1) / T(1u << (cascades - 1 - int(cell >> 3 * log2_resolution))), width = T(1) / T(resolution);
  for (int d = 0; d < 3; ++d, cell >>= log2_resolution) x[d] = T(0.5) + ((T(cell & (resolution - 1)) + x[d]) * width - T(0.5)) * side;
}

// Eight cells to a byte, the first one lowest.
template <class T> NC_HD uint8_t occupancy_byte(const T* cells, T threshold) {
  unsigned byte = 0;
  for (int i = 0; i < 8; ++i) byte |= unsigned(cells[i] > threshold) << i;
  return uint8_t(byte);
}

// Block that holds the point x in cascade c of `cascades`, each of resolution^3 blocks; -1 outside.
template <class T> NC_HD int64_t occupancy_block(const T* x, int cascade, int cascades, int resolution) {
  const T blocks_per_unit = T(resolution) * T(int64_t(1) << (cascades - 1 - cascade));
  int64_t block = 0;
  for (int d = 2; d >= 0; --d) {
    const T at = std::floor((x[d] - T(0.5)) * blocks_per_unit + T(resolution) * T(0.5));
    if (!(at >= T(0) && at < T(resolution))) return -1;
    block = block * resolution + int64_t(at);
  }
  return (int64_t(cascade) * resolution * resolution * resolution) + block;
}

}  // namespace nerfcore
