#pragma once
#include "math/occupancy.h"

namespace nerfcore {

constexpr int kCellsPerWord = 32;

// A share of all 32-bit numbers: `last` and those before it from `start` on, around the end; or none.
struct OccupancyTurn {
  uint32_t start, last;
  bool any;
  NC_HD bool has(uint32_t number) const { return any & (number - start <= last - start); }
};

// Which cells are looked at, a bit each: those whose scattered number has its turn, among all cells or among the occupied ones.
template <class T> struct OccupancyChoose {
  const T* density_grid;  // [num_cells]
  int64_t num_cells;
  const T* threshold;     // beside the grid: the host need not know it
  OccupancyTurn swept, drawn;
  uint32_t* chosen;       // [ceil(num_cells / 32)] out
  int64_t* count;         // the same, of the bits that are set

  NC_HD void operator()(int64_t w) const {
    const int64_t begin = w * kCellsPerWord;
    const int n = int(min_of<int64_t>(kCellsPerWord, num_cells - begin));
    const T limit = *threshold;
    uint32_t turn[kCellsPerWord] = {}, word = 0;
    for (int i = 0; i < n; ++i) {  // two loops, so that the compiler finds vectors in the first
      const T density = density_grid[begin + i];
      const uint32_t number = scatter_bits(uint32_t(begin + i));
      turn[i] = density >= T(0) & (swept.has(number) | (density > limit & drawn.has(number)));
    }
    for (int i = 0; i < kCellsPerWord; ++i) word |= turn[i] << i;
    chosen[w] = word;
    count[w] = count_bits(word);
  }
};

// The chosen cells in order, and a random point of each, as far as there is room.
template <class T> struct OccupancyPoints {
  const uint32_t* chosen;  // [W]
  const int64_t* end;      // [W] how many cells are chosen in words 0 ... w
  int log2_resolution, cascades;
  uint32_t seed;
  int64_t capacity;
  int64_t* cell_index;     // [capacity] out
  T* point;                // [capacity, 3] out

  NC_HD void operator()(int64_t w) const {
    int64_t i = w > 0 ? end[w - 1] : 0;
    for (uint32_t word = chosen[w]; word && i < capacity; word &= word - 1, ++i) {
      const uint32_t cell = uint32_t(w * kCellsPerWord + lowest_bit(word));
      cell_index[i] = cell;
      occupancy_jitter(cell, seed, point + 3 * i);
      occupancy_cell_point(cell, log2_resolution, cascades, point + 3 * i);
    }
  }
};

// Every named cell decays once, however often it is named, and rises to the largest of its new densities.
template <class T> struct OccupancyUpdate {
  const int64_t* cell_index;  // [N]; what lies outside of the grid names none
  const T* density;           // [N]
  T decay;
  uint32_t* decayed;          // [ceil(C * G^3 / 32)] bit set of the cells that have decayed, zero at first
  T* density_grid;            // [C * G^3] in and out
};

template <class T> struct OccupancyPack {
  const T* density_grid;  // [8 B]
  const T* threshold;
  uint8_t* bits;          // [B] out

  NC_HD void operator()(int64_t i) const { bits[i] = occupancy_byte(density_grid + 8 * i, *threshold); }
};

// Marks the blocks of every cascade that hold the middle of a sample which at least `darkest` of the light reaches.
template <class T> struct OccupancySee {
  const T* origin;             // [R, 3]
  const T* direction;          // [R, 3]
  const int64_t* ray_offsets;  // [R + 1]
  const T* t_start;            // [S]
  const T* t_end;              // [S]
  const T* weight;             // [S]
  T darkest;
  int resolution, cascades;    // of the blocks
  bool* seen;                  // [C * resolution^3]; many threads may write the same true

  NC_HD void operator()(int64_t r) const {
    T light = T(1);
    for (int64_t s = ray_offsets[r]; s < ray_offsets[r + 1] && light > darkest; light -= weight[s++]) {
      T x[3];
      for (int d = 0; d < 3; ++d) x[d] = origin[3 * r + d] + T(0.5) * (t_start[s] + t_end[s]) * direction[3 * r + d];
      for (int c = 0; c < cascades; ++c) {
        const int64_t block = occupancy_block(x, c, cascades, resolution);
        if (block >= 0) seen[block] = true;
      }
    }
  }
};

template <class T> void occupancy_choose_cpu(const OccupancyChoose<T>& params, int64_t num_words, int threads);
template <class T> void occupancy_choose_cuda(const OccupancyChoose<T>& params, int64_t num_words, void* stream);
template <class T> void occupancy_points_cpu(const OccupancyPoints<T>& params, int64_t num_words, int threads);
template <class T> void occupancy_points_cuda(const OccupancyPoints<T>& params, int64_t num_words, void* stream);
template <class T> void occupancy_update_cpu(const OccupancyUpdate<T>& params, int64_t n, int64_t num_cells, int threads);
template <class T> void occupancy_update_cuda(const OccupancyUpdate<T>& params, int64_t n, int64_t num_cells, void* stream);
template <class T> void occupancy_pack_cpu(const OccupancyPack<T>& params, int64_t num_bytes, int threads);
template <class T> void occupancy_pack_cuda(const OccupancyPack<T>& params, int64_t num_bytes, void* stream);
template <class T> void occupancy_see_cpu(const OccupancySee<T>& params, int64_t num_rays, int threads);
template <class T> void occupancy_see_cuda(const OccupancySee<T>& params, int64_t num_rays, void* stream);

}  // namespace nerfcore
