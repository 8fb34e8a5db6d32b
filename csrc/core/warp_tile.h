// Matrices on tensor cores, as 16 x 16 tiles that a warp holds in its registers.
//
// A Tile holds rounded numbers that can be multiplied, a Sum holds float32. In both, lane 4 g + t has rows g and g + 8, and columns
// 2 t, 2 t + 1, 2 t + 8, 2 t + 9. mma.sync leaves its result in these places and takes its left matrix from them, and its right matrix
// too if that is given transposed (a b^T). So one layout serves both sides, and the layers of a network follow each other without
// an exchange between lanes. (TF32 takes column t where bfloat16 takes 2 t, and t + 4 where it takes 2 t + 1. The order of the columns does
// not matter if it is the same on both sides, so it gets the same columns as bfloat16.)
//
// `Block` is the machine: CudaBlock (core/cuda_block.cuh), or lanes and warps in software (tests/kernels/emulated_block.h).
// Its Lanes<T> is a number for each lane of a warp, and each(f) calls f(lane) for the lanes that run here: one on a GPU.
#pragma once
#include "core/precision.h"

#ifdef __CUDACC__
#define NC_WARP __device__ __forceinline__  // run by all lanes of a warp together
#define NC_UNROLL _Pragma("unroll")
#define NC_PRAGMA(text) _Pragma(#text)
#define NC_UNROLL_BY(n) NC_PRAGMA(unroll n)
#else
#define NC_WARP inline
#define NC_UNROLL
#define NC_UNROLL_BY(n)
#endif

namespace nerfcore {

constexpr int kWarpLanes = 32, kTile = 16;

struct alignas(16) Words4 { uint32_t w[4]; };
struct alignas(16) Floats4 { float c[4]; };
struct alignas(8) Words2 { uint32_t x, y; };
struct alignas(8) Pair { float x, y; };

NC_HD int tiles_of(int width) { return (width + kTile - 1) / kTile; }

// One instruction multiplies tiles over 32 bytes of columns: kSteps of them over the 16 columns of a tile. A step has a Words4 a lane:
// word 2 r + half is in rows `half` (g or g + 8); r = 0, 1 are the pairs of columns (16 bits) or the numbers of one pair (TF32).
template <class P> constexpr int kSteps = P::kBytes / 2;
template <class P> constexpr int kTileWords = kTile * kTile * P::kBytes / 4;

// The first of the one or two columns in word `word` of a step.
template <class P> NC_HD int word_column(int step, int lane, int word) {
  const int r = word / 2, pair = 2 * (lane % 4);
  return P::kBytes == 2 ? 8 * r + pair : 8 * step + pair + r;
}
NC_HD int word_row(int lane, int word) { return 8 * (word % 2) + lane / 4; }
// The row and the column of number `i` of a lane in the Floats4 `part` of a Sum.
NC_HD int sum_row(int lane, int i) { return 8 * (i / 2) + lane / 4; }
NC_HD int sum_column(int part, int lane, int i) { return 8 * part + 2 * (lane % 4) + i % 2; }

// A row-major matrix [rows, columns] in global memory, read and written by two neighbours in a row; zero outside.
struct Matrix {
  float* data;
  int64_t rows;
  int columns;
  bool paired;  // neighbours can be moved in one access

  Matrix() = default;
  Matrix(const float* data, int64_t rows, int columns)
      : data(const_cast<float*>(data)), rows(rows), columns(columns), paired(columns % 2 == 0 && reinterpret_cast<uintptr_t>(data) % 8 == 0) {}

  NC_HD Pair read(int64_t row, int column) const {
    if (row >= rows || column >= columns) return {0.0f, 0.0f};
    const float* at = data + row * columns + column;
    if (paired) return *reinterpret_cast<const Pair*>(at);
    return {at[0], column + 1 < columns ? at[1] : 0.0f};
  }
  NC_HD void write(int64_t row, int column, Pair v) const {
    if (row >= rows || column >= columns) return;
    float* at = data + row * columns + column;
    if (paired) {
      *reinterpret_cast<Pair*>(at) = v;
    } else {
      at[0] = v.x;
      if (column + 1 < columns) at[1] = v.y;
    }
  }
};

template <class Block, class P> struct WarpTiles {
  template <class T> using Lanes = typename Block::template Lanes<T>;
  struct Tile { Lanes<Words4> step[kSteps<P>]; };
  struct Sum { Lanes<Floats4> part[2]; };  // columns 0 to 7, and 8 to 15

  const Block& block;

  // sum += a b^T.
  NC_WARP void multiply(Sum& sum, const Tile& a, const Tile& b) const {
    NC_UNROLL for (int s = 0; s < kSteps<P>; ++s) {
      NC_UNROLL for (int part = 0; part < 2; ++part) block.multiply(P(), sum.part[part], a.step[s], b.step[s], part);
    }
  }

  NC_WARP void clear(Sum& sum) const {
    block.each([&](int lane) { NC_UNROLL for (int part = 0; part < 2; ++part) sum.part[part][lane] = Floats4{}; });
  }

  // Fills a tile by pair(lane, half, part), the two numbers at sum_row(lane, 2 half), sum_column(part, lane, 0).
  template <class F> NC_WARP void fill(Tile& tile, const F& pair) const {
    block.each([&](int lane) {
      NC_UNROLL for (int half = 0; half < 2; ++half) {
        NC_UNROLL for (int part = 0; part < 2; ++part) {
          const Pair v = pair(lane, half, part);
          if constexpr (P::kBytes == 2) {
            tile.step[0][lane].w[2 * part + half] = P::pack(v.x, v.y);
          } else {
            tile.step[part][lane].w[half] = P::round(v.x), tile.step[part][lane].w[2 + half] = P::round(v.y);
          }
        }
      }
    });
  }

  NC_WARP void round_relu(Tile& tile, const Sum& sum) const {
    const auto relu = [](float v) { return v < 0.0f ? 0.0f : v; };  // a NaN stays
    fill(tile, [&](int lane, int half, int part) {
      const Floats4& v = sum.part[part][lane];
      return Pair{relu(v.c[2 * half]), relu(v.c[2 * half + 1])};
    });
  }

  // The sum where `gate` is above 0, else 0.
  NC_WARP void round_gated(Tile& tile, const Sum& sum, const Tile& gate) const {
    fill(tile, [&](int lane, int half, int part) {
      bool x, y;
      if constexpr (P::kBytes == 2) {
        const uint32_t word = gate.step[0][lane].w[2 * part + half];
        x = int16_t(word) > 0, y = int32_t(word) >= 0x10000;
      } else {
        const Words4& word = gate.step[part][lane];
        x = int32_t(word.w[half]) > 0, y = int32_t(word.w[2 + half]) > 0;
      }
      const Floats4& v = sum.part[part][lane];
      return Pair{x ? v.c[2 * half] : 0.0f, y ? v.c[2 * half + 1] : 0.0f};
    });
  }

  // A tile as the lanes hold it, 16 bytes a lane after the other: weights and what one pass keeps for another.
  NC_WARP void load(Tile& tile, const Words4* from) const {
    block.each([&](int lane) {
      NC_UNROLL for (int s = 0; s < kSteps<P>; ++s) tile.step[s][lane] = from[s * kWarpLanes + lane];
    });
  }
  NC_WARP void store(Words4* to, const Tile& tile) const {
    block.each([&](int lane) {
      NC_UNROLL for (int s = 0; s < kSteps<P>; ++s) to[s * kWarpLanes + lane] = tile.step[s][lane];
    });
  }
  NC_WARP void load(Sum& sum, const Floats4* from) const {
    block.each([&](int lane) { NC_UNROLL for (int part = 0; part < 2; ++part) sum.part[part][lane] = from[part * kWarpLanes + lane]; });
  }
  NC_WARP void store(Floats4* to, const Sum& sum) const {
    block.each([&](int lane) { NC_UNROLL for (int part = 0; part < 2; ++part) to[part * kWarpLanes + lane] = sum.part[part][lane]; });
  }

  // A tile in shared memory from which any warp may read its transpose: four row-major 8 x 8 matrices, (row half, column half) = (0, 0),
  // (1, 0), (0, 1), (1, 1). Rows of 16 or 32 bytes follow each other, so neither direction has bank conflicts, without padding.
  NC_WARP void stage(uint32_t* shared, const Tile& tile) const {
    block.each([&](int lane) {
      NC_UNROLL for (int i = 0; i < 4; ++i) {
        if constexpr (P::kBytes == 2) {
          shared[i * 32 + lane] = tile.step[0][lane].w[i];
        } else {
          const Words4& step = tile.step[i / 2][lane];
          reinterpret_cast<Words2*>(shared)[i * 32 + lane] = {step.w[i % 2], step.w[2 + i % 2]};
        }
      }
    });
  }
  // Back to the lanes as they staged it.
  NC_WARP void unstage(Tile& tile, const uint32_t* shared) const {
    block.each([&](int lane) {
      NC_UNROLL for (int i = 0; i < 4; ++i) {
        if constexpr (P::kBytes == 2) {
          tile.step[0][lane].w[i] = shared[i * 32 + lane];
        } else {
          const Words2 pair = reinterpret_cast<const Words2*>(shared)[i * 32 + lane];
          tile.step[i / 2][lane].w[i % 2] = pair.x, tile.step[i / 2][lane].w[2 + i % 2] = pair.y;
        }
      }
    });
  }
  // The transpose of a staged tile. TF32: row t of the tile stands where column 2 t should, and t + 4 where 2 t + 1 should, for both factors
  // of a product alike: in this order there are no bank conflicts.
  NC_WARP void unstage_transposed(Tile& tile, const uint32_t* shared) const {
    if constexpr (P::kBytes == 2) {
      block.load_transposed(tile.step[0], [&](int lane) {
        const int matrix = lane / 8;  // word 2 r + half of the transpose is the matrix at row half r, column half `half`
        return shared + (matrix % 2 * 2 + matrix / 2) * 32 + lane % 8 * 4;
      });
    } else {
      block.each([&](int lane) {
        NC_UNROLL for (int s = 0; s < 2; ++s) {
          NC_UNROLL for (int i = 0; i < 4; ++i)
            tile.step[s][lane].w[i] = shared[(2 * (i % 2) + s) * 64 + 8 * (lane % 4 + i / 2 * 4) + lane / 4];
        }
      });
    }
  }
};

}  // namespace nerfcore
