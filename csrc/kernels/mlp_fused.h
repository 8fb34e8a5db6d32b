// The fully fused MLP on tensor cores (Müller et al. 2021, "Real-time neural radiance caching", section 5): a block carries 64 or 128 rows
// through all layers, the activations of a warp's rows stay in its registers, the weights of all layers in shared memory.
// The code of a thread block, for a GPU (mlp.cu) and for lanes in software (tests/kernels); see core/warp_tile.h for Block and P.
//
// All widths are padded to whole tiles of 16 inside, hidden ones to a common width H of 16, 32, 64 or 128; padding holds zeros.
// The rows of a block are dealt to its warps, kRowTiles tiles each. Products of rows and weights then stay within a warp. The gradient of
// the weights sums over rows: there warps exchange activations and gradients through shared memory, and share out the tiles of the sum.
#pragma once
#include "core/atomic.h"
#include "core/warp_tile.h"
#include "kernels/mlp.h"

#include <algorithm>

namespace nerfcore {

constexpr int kMaxFusedLayers = 16, kMaxFusedWidth = 128;

struct FusedShape {
  int layers;  // matrices: at least 2
  int width;   // H
  int widths[kMaxFusedLayers + 1];
  int at[kMaxFusedLayers + 1];  // where the tiles of a layer's matrix start among those of all layers

  NC_HD int in_tiles(int layer) const { return layer == 0 ? tiles_of(widths[0]) : width / kTile; }
  NC_HD int out_tiles(int layer) const { return layer == layers - 1 ? tiles_of(widths[layers]) : width / kTile; }
  NC_HD int tiles() const { return at[layers]; }
  NC_HD int layer_of(int64_t tile) const {
    int layer = 0;
    while (tile >= at[layer + 1]) ++layer;
    return layer;
  }
};

// Fills in what a network of these widths needs; 2 to kMaxFusedLayers matrices, hidden widths of at most kMaxFusedWidth.
inline FusedShape fused_shape(const std::vector<int>& widths) {
  FusedShape shape{int(widths.size()) - 1, kTile, {}, {}};
  for (int l = 0; l <= shape.layers; ++l) shape.widths[l] = widths[l];
  for (int l = 1; l < shape.layers; ++l)
    while (shape.width < widths[l]) shape.width *= 2;
  for (int l = 0; l < shape.layers; ++l) shape.at[l + 1] = shape.at[l] + shape.in_tiles(l) * shape.out_tiles(l);
  return shape;
}

// Rows of a block. Shared memory holds two matrices [kRows, H] for the weight gradient: 64 KB at most.
template <class P, int H> constexpr int kFusedRows = 2 * 128 * H * P::kBytes <= 65536 ? 128 : 64;
// Tiles of rows of a warp, as far as registers go: a tile of weights is read once for all of them.
template <class P, int H> constexpr int kRowTiles = H * P::kBytes <= 128 ? 2 : 1;
template <class P, int H> constexpr int kFusedWarps = kFusedRows<P, H> / (kTile * kRowTiles<P, H>);

// One thread rounds one word of the weights into the tiles that a warp multiplies with: layer after layer, [in, out] tiles, each W^T for the
// forward pass, which computes x W, and W for the backward pass (`transposed`), which computes g W^T in tiles [out, in].
template <class P> struct PackWeights {
  FusedShape shape;
  const float* weights[kMaxFusedLayers];  // [widths[l], widths[l + 1]]
  bool transposed;
  uint32_t* packed;  // [tiles * kTileWords] out

  NC_HD void operator()(int64_t i) const {
    const int tile = int(i / kTileWords<P>), layer = shape.layer_of(tile), local = tile - shape.at[layer];
    const int step = int(i % kTileWords<P>) / 128, lane = int(i % 128) / 4, word = int(i % 4);
    const int across = transposed ? shape.in_tiles(layer) : shape.out_tiles(layer);
    const int row = local / across * kTile + word_column<P>(step, lane, word);  // of the right matrix, whose transpose is held
    const int column = local % across * kTile + word_row(lane, word);
    if constexpr (P::kBytes == 2) packed[i] = P::pack(at(layer, row, column), at(layer, row + 1, column));
    else packed[i] = P::round(at(layer, row, column));
  }

  NC_HD float at(int layer, int row, int column) const {
    const int in = transposed ? column : row, out = transposed ? row : column;
    return in < shape.widths[layer] && out < shape.widths[layer + 1] ? weights[layer][in * shape.widths[layer + 1] + out] : 0.0f;
  }
};

// What of a block's data is in shared memory; the rest stays in global memory, for the caches to hold.
struct SharedMemory {
  bool weights, sums;
  int64_t bytes;

  static SharedMemory within(int64_t limit, int64_t used, int64_t weights, int64_t sums) {
    SharedMemory memory{used + weights <= limit, false, used};
    if (memory.weights) memory.bytes += weights;
    memory.sums = sums > 0 && memory.bytes + sums <= limit;
    if (memory.sums) memory.bytes += sums;
    return memory;
  }
};

struct FusedForward {
  FusedShape shape;
  OutputActivation activation;
  bool weights_in_shared;
  const Words4* weights;  // packed, forward
  Matrix x, out;          // out is written
  Words4* hidden;         // [hidden layers][tiles of rows][H / 16] tiles out, or null for inference
};

struct FusedBackward {
  FusedShape shape;
  OutputActivation activation;
  bool weights_in_shared, sums_in_shared;
  const Words4* weights;  // packed, transposed
  const Words4* hidden;   // from the forward pass
  Matrix x, out, grad_out;
  Matrix grad_x;         // written, unless its data is null
  Floats4* partial;      // [blocks][tiles] sums out: each block's part of the gradient of the weights, times the scale
  const float* largest;  // see GradientScale
};

// The power of two by which a precision of small range multiplies gradients, and its inverse: the largest that enters comes to be between 1
// and 2. It may grow 32,000 times on its way before half precision overflows; what vanishes beside it would in a sum of float32 as well.
struct GradientScale {
  float up = 1.0f, down = 1.0f;

  NC_HD explicit GradientScale(const float* largest) {
    if (!largest) return;
    const uint32_t exponent = clamp(bits_of_float(*largest) >> 23, 1u, 253u);  // biased by 127
    up = float_of_bits((254 - exponent) << 23), down = float_of_bits(exponent << 23);
  }
};

template <class P> SharedMemory fused_forward_memory(const FusedShape& shape, int64_t limit) {
  return SharedMemory::within(limit, 0, int64_t(shape.tiles()) * kTileWords<P> * 4, 0);
}
template <class P, int H> SharedMemory fused_backward_memory(const FusedShape& shape, int64_t limit) {
  const int64_t tile = kTileWords<P> * 4, staged = 2 * kFusedRows<P, H> / kTile * (H / kTile) * tile;
  return SharedMemory::within(limit, staged, shape.tiles() * tile, shape.tiles() * int64_t(kTile * kTile * 4));
}

template <class Block, class P, int H> class FusedMlp : WarpTiles<Block, P> {
  using Tiles = WarpTiles<Block, P>;
  using typename Tiles::Sum;
  using typename Tiles::Tile;
  static constexpr int kRows = kFusedRows<P, H>, kWarps = kFusedWarps<P, H>, M = kRowTiles<P, H>, N = H / kTile;
  static constexpr int kWords = kTileWords<P>, kVectors = kWords / 4, kSumVectors = kTile * kTile / 4;
  static constexpr int kThreads = kWarps * kWarpLanes;

 public:
  NC_WARP explicit FusedMlp(const Block& block) : Tiles{block} {}

  NC_WARP void forward(const FusedForward& p, Words4* shared) const {
    const Words4* weights = fetch_weights(p.weights, p.shape, p.weights_in_shared, shared);
    block.sync();
    const int last = p.shape.layers - 1;
    for (int64_t row = first_row(); row < p.x.rows; row += block.count() * kRows) {
      Sum sums[M][N];
      clear_all(sums);
      for (int k = 0; k < p.shape.in_tiles(0); ++k) {
        Tile x[M];
        read(x, [&](int r, int c) { return p.x.read(row + r, k * kTile + c); });
        multiply_row(sums, x, weights + k * N * kVectors);
      }
      Tile a[N][M];
      for (int l = 1;; ++l) {
        NC_UNROLL for (int n = 0; n < N; ++n) {
          NC_UNROLL for (int m = 0; m < M; ++m) {
            this->round_relu(a[n][m], sums[m][n]);
            if (p.hidden && row + m * kTile < p.x.rows) this->store(hidden_tile(p.hidden, p.x.rows, l - 1, row, m, n), a[n][m]);
          }
        }
        if (l == last) break;
        clear_all(sums);
        NC_UNROLL for (int k = 0; k < N; ++k) multiply_row(sums, a[k], weights + (p.shape.at[l] + k * N) * kVectors);
      }
      leave(a, p.shape.out_tiles(last), weights + p.shape.at[last] * kVectors, [&](int r, int c, Pair y) {
        p.out.write(row + r, c, {output_activation(y.x, p.activation), output_activation(y.y, p.activation)});
      });
    }
  }

  // From the last layer to the first: g = dL/d(result of a layer before its activation) and a, what the layer saw, meet in shared memory.
  NC_WARP void backward(const FusedBackward& p, Words4* shared) const {
    uint32_t* staged_a = reinterpret_cast<uint32_t*>(shared);
    uint32_t* staged_g = staged_a + kRows / kTile * N * kWords;
    shared += 2 * (kRows / kTile) * N * kVectors;
    Floats4* partial = p.partial + block.index() * p.shape.tiles() * kSumVectors;
    Floats4* sums = p.sums_in_shared ? reinterpret_cast<Floats4*>(shared) : partial;
    if (p.sums_in_shared) shared += p.shape.tiles() * kSumVectors;
    for_threads(p.shape.tiles() * kSumVectors, [&](int i) { sums[i] = Floats4{}; });
    const GradientScale scale(P::kScalesGradient ? p.largest : nullptr);
    const Words4* weights = fetch_weights(p.weights, p.shape, p.weights_in_shared, shared);
    block.sync();

    const int last = p.shape.layers - 1;
    for (int64_t row = first_row(); row - first_row_of_warp() < p.x.rows; row += block.count() * kRows) {
      Sum grads[M][N];
      clear_all(grads);
      stage_hidden(staged_a, p, last - 1, row);
      const int out_tiles = p.shape.out_tiles(last), in_tiles = p.shape.in_tiles(0);
      for (int first = 0; first < out_tiles; first += N) {  // H outputs at a time
        const int count = min_of(N, out_tiles - first);
        for (int n = 0; n < count; ++n) {
          Tile g[M];
          read(g, [&](int r, int c) { return output_gradient(p, scale.up, row + r, (first + n) * kTile + c); });
          multiply_row(grads, g, weights + (p.shape.at[last] + (first + n) * N) * kVectors);
          stage_column(staged_g, n, g);
        }
        block.sync();
        add_outer(sums + p.shape.at[last] * kSumVectors, out_tiles, 0, N, first, count, staged_a, staged_g);
        block.sync();
      }
      for (int l = last - 1;; --l) {
        NC_UNROLL for (int n = 0; n < N; ++n) {
          Tile g[M];
          NC_UNROLL for (int m = 0; m < M; ++m) {
            Tile a;
            this->unstage(a, staged(staged_a, block.warp() * M + m, n));
            this->round_gated(g[m], grads[m][n], a);
          }
          stage_column(staged_g, n, g);
        }
        if (l == 0) break;
        clear_all(grads);
        NC_UNROLL_BY(1) for (int k = 0; k < N; ++k) {
          Tile g[M];
          unstage_column(g, staged_g, k);
          multiply_row(grads, g, weights + (p.shape.at[l] + k * N) * kVectors);
        }
        stage_hidden(staged_a, p, l - 1, row);
        block.sync();
        add_outer(sums + p.shape.at[l] * kSumVectors, N, 0, N, 0, N, staged_a, staged_g);
        block.sync();
      }
      if (p.grad_x.data) {
        Tile g[N][M];
        NC_UNROLL for (int n = 0; n < N; ++n) unstage_column(g[n], staged_g, n);
        leave(g, in_tiles, weights, [&](int r, int c, Pair v) { p.grad_x.write(row + r, c, {v.x * scale.down, v.y * scale.down}); });
      }
      for (int first = 0; first < in_tiles; first += N) {  // H inputs at a time
        const int count = min_of(N, in_tiles - first);
        for (int n = 0; n < count; ++n) {
          Tile x[M];
          read(x, [&](int r, int c) { return p.x.read(row + r, (first + n) * kTile + c); });
          stage_column(staged_a, n, x);
        }
        block.sync();
        add_outer(sums, N, first, count, 0, N, staged_a, staged_g);
        block.sync();
      }
    }
    if (p.sums_in_shared) for_threads(p.shape.tiles() * kSumVectors, [&](int i) { partial[i] = sums[i]; });
  }

 private:
  using Tiles::block;

  NC_WARP int first_row_of_warp() const { return block.warp() * M * kTile; }
  NC_WARP int64_t first_row() const { return block.index() * kRows + first_row_of_warp(); }

  template <class F> NC_WARP void for_threads(int n, const F& f) const {
    block.each([&](int lane) { for (int i = block.warp() * kWarpLanes + lane; i < n; i += kThreads) f(i); });
  }

  NC_WARP const Words4* fetch_weights(const Words4* packed, const FusedShape& shape, bool to_shared, Words4* shared) const {
    if (!to_shared) return packed;
    for_threads(shape.tiles() * kVectors, [&](int i) { block.begin_copy(shared + i, packed + i); });
    block.finish_copies();
    return shared;
  }

  NC_WARP void clear_all(Sum (&sums)[M][N]) const {
    NC_UNROLL for (int m = 0; m < M; ++m) { NC_UNROLL for (int n = 0; n < N; ++n) this->clear(sums[m][n]); }
  }

  // Fills the tiles of a warp's rows by pair(row within them, column).
  template <class F> NC_WARP void read(Tile (&tiles)[M], const F& pair) const {
    NC_UNROLL for (int m = 0; m < M; ++m)
      this->fill(tiles[m], [&](int lane, int half, int part) { return pair(m * kTile + sum_row(lane, 2 * half), sum_column(part, lane, 0)); });
  }

  // sums += a times a row of N tiles of weights.
  NC_WARP void multiply_row(Sum (&sums)[M][N], const Tile (&a)[M], const Words4* weights) const {
    NC_UNROLL for (int n = 0; n < N; ++n) {
      Tile w;
      this->load(w, weights + n * kVectors);
      NC_UNROLL for (int m = 0; m < M; ++m) this->multiply(sums[m][n], a[m], w);
    }
  }

  // The product of a and a matrix of N x `columns` tiles, by write(row within the warp's, column, pair).
  template <class F> NC_WARP void leave(const Tile (&a)[N][M], int columns, const Words4* weights, const F& write) const {
    for (int column = 0; column < columns; ++column) {
      Sum sums[M];
      NC_UNROLL for (int m = 0; m < M; ++m) this->clear(sums[m]);
      NC_UNROLL for (int k = 0; k < N; ++k) {
        Tile w;
        this->load(w, weights + (k * columns + column) * kVectors);
        NC_UNROLL for (int m = 0; m < M; ++m) this->multiply(sums[m], a[k][m], w);
      }
      NC_UNROLL for (int m = 0; m < M; ++m) {
        block.each([&](int lane) {
          NC_UNROLL for (int half = 0; half < 2; ++half) {
            NC_UNROLL for (int part = 0; part < 2; ++part) {
              const Floats4& v = sums[m].part[part][lane];
              write(m * kTile + sum_row(lane, 2 * half), column * kTile + sum_column(part, lane, 0), Pair{v.c[2 * half], v.c[2 * half + 1]});
            }
          }
        });
      }
    }
  }

  static NC_WARP Pair output_gradient(const FusedBackward& p, float scale, int64_t row, int column) {
    const Pair g = p.grad_out.read(row, column);
    if (p.activation == OutputActivation::kNone) return {g.x * scale, g.y * scale};
    const Pair y = p.out.read(row, column);
    return {output_activation_backward(y.x, g.x, p.activation) * scale, output_activation_backward(y.y, g.y, p.activation) * scale};
  }

  template <class V> static NC_WARP V* hidden_tile(V* hidden, int64_t rows, int layer, int64_t row, int m, int n) {
    return hidden + ((layer * ((rows + kTile - 1) / kTile) + row / kTile + m) * N + n) * kVectors;
  }

  static NC_WARP uint32_t* staged(uint32_t* matrix, int row_tile, int column_tile) { return matrix + (row_tile * N + column_tile) * kWords; }
  NC_WARP void stage_column(uint32_t* matrix, int n, const Tile (&tiles)[M]) const {
    NC_UNROLL for (int m = 0; m < M; ++m) this->stage(staged(matrix, block.warp() * M + m, n), tiles[m]);
  }
  NC_WARP void unstage_column(Tile (&tiles)[M], uint32_t* matrix, int n) const {
    NC_UNROLL for (int m = 0; m < M; ++m) this->unstage(tiles[m], staged(matrix, block.warp() * M + m, n));
  }
  NC_WARP void stage_hidden(uint32_t* matrix, const FusedBackward& p, int layer, int64_t row) const {
    NC_UNROLL for (int n = 0; n < N; ++n) {
      NC_UNROLL for (int m = 0; m < M; ++m) {
        Tile a{};
        if (row + m * kTile < p.x.rows) this->load(a, hidden_tile(p.hidden, p.x.rows, layer, row, m, n));
        this->stage(staged(matrix, block.warp() * M + m, n), a);
      }
    }
  }

  // sums[first_in + i][first_out + o] += (columns i of a)^T (columns o of g) over the rows of the block. A warp takes pieces of one by up
  // to two tiles, always the same ones, so that nobody else touches their sums.
  NC_WARP void add_outer(Floats4* sums, int across, int first_in, int ins, int first_out, int outs, uint32_t* a, uint32_t* g) const {
    constexpr int kWide = N > 1 ? 2 : 1;
    const int pieces = ins * ((outs + kWide - 1) / kWide);
    for (int piece = block.warp(); piece < pieces; piece += kWarps) {
      const int in = piece % ins, out = piece / ins * kWide;
      Floats4* at = sums + ((first_in + in) * across + first_out + out) * kSumVectors;
      Sum sum[kWide];
      NC_UNROLL for (int j = 0; j < kWide; ++j) if (out + j < outs) this->load(sum[j], at + j * kSumVectors);
      NC_UNROLL_BY(2) for (int k = 0; k < kRows / kTile; ++k) {
        Tile u, v;
        this->unstage_transposed(u, staged(a, k, in));
        NC_UNROLL for (int j = 0; j < kWide; ++j) {
          if (out + j < outs) {
            this->unstage_transposed(v, staged(g, k, out + j));
            this->multiply(sum[j], u, v);
          }
        }
      }
      NC_UNROLL for (int j = 0; j < kWide; ++j) if (out + j < outs) this->store(at + j * kSumVectors, sum[j]);
    }
  }
};

// The largest |dL/d(output before its activation)| that is finite. A maximum is the same in any order, so atomics repeat to the bit.
struct LargestGradient {
  OutputActivation activation;
  int64_t count;                // of numbers
  const float *out, *grad_out;  // [count]
  float* largest;               // out; 0 before

  static constexpr int kWarps = 16;

  template <class Block> NC_WARP void operator()(const Block& block, float* shared) const {
    const int64_t stride = block.count() * kWarps * kWarpLanes;
    block.each([&](int lane) {
      const int thread = block.warp() * kWarpLanes + lane;
      float most = 0.0f;
      NC_UNROLL_BY(4) for (int64_t i = block.index() * kWarps * kWarpLanes + thread; i < count; i += stride) {
        const float y = activation == OutputActivation::kNone ? 0.0f : out[i];
        const float size = std::fabs(output_activation_backward(y, grad_out[i], activation));
        if (size < INFINITY) most = max_of(most, size);
      }
      shared[thread] = most;
    });
    block.sync();
    if (block.warp() > 0) return;
    block.each([&](int lane) {
      float most = 0.0f;
      for (int warp = 0; warp < kWarps; ++warp) most = max_of(most, shared[warp * kWarpLanes + lane]);
      atomic_max(largest, most);
    });
  }
};

// Adds the parts of all blocks, always in the same order, and takes the sums out of their tiles: 16 warps share the parts of 32 numbers.
struct SumPartials {
  FusedShape shape;
  int64_t count;         // of parts
  const float* partial;  // [count][tiles * 256]
  const float* largest;  // see GradientScale; null where there is none
  float* grad_weights[kMaxFusedLayers];

  static constexpr int kWarps = 16;

  template <class Block> NC_WARP void operator()(const Block& block, float* shared) const {
    const int64_t size = int64_t(shape.tiles()) * kTile * kTile, first = block.index() * kWarpLanes;
    block.each([&](int lane) {
      float sum = 0.0f;
      for (int64_t part = block.warp(); part < count; part += kWarps) sum += partial[part * size + first + lane];
      shared[block.warp() * kWarpLanes + lane] = sum;
    });
    block.sync();
    if (block.warp() > 0) return;
    block.each([&](int lane) {
      float sum = 0.0f;
      for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp * kWarpLanes + lane];
      write(first + lane, sum);
    });
  }

  // Number i of a part: tile, half of its columns, lane, number of the lane.
  NC_HD void write(int64_t i, float value) const {
    const int tile = int(i / (kTile * kTile)), layer = shape.layer_of(tile), local = tile - shape.at[layer];
    const int part = int(i / 128 % 2), lane = int(i / 4 % 32), across = shape.out_tiles(layer);
    const int in = local / across * kTile + sum_row(lane, int(i % 4)), out = local % across * kTile + sum_column(part, lane, int(i % 4));
    if (in >= shape.widths[layer] || out >= shape.widths[layer + 1]) return;
    grad_weights[layer][in * shape.widths[layer + 1] + out] = value * GradientScale(largest).down;
  }
};

// The parameters of the parts above from those of the operation; memory that is not theirs belongs to the caller's workspace.
template <class P> int64_t fused_hidden_size(const FusedShape& shape, int64_t num_rows) {
  return (shape.layers - 1) * ((num_rows + kTile - 1) / kTile) * (shape.width / kTile) * kTileWords<P>;
}

template <class P> PackWeights<P> pack_weights(const FusedShape& shape, const std::vector<const float*>& weights, bool transposed,
                                               float* packed) {
  PackWeights<P> pack{shape, {}, transposed, reinterpret_cast<uint32_t*>(packed)};
  std::copy(weights.begin(), weights.end(), pack.weights);
  return pack;
}

inline FusedForward fused_forward(const FusedShape& shape, const MlpForward<float>& p, const float* packed, const SharedMemory& memory) {
  const int in = shape.widths[0], out = shape.widths[shape.layers];
  return {shape, p.activation, memory.weights, reinterpret_cast<const Words4*>(packed), Matrix(p.x, p.num_rows, in),
          Matrix(p.out, p.num_rows, out), reinterpret_cast<Words4*>(p.hidden)};
}

inline LargestGradient largest_gradient(const MlpBackward<float>& p, float* largest) {
  return {p.activation, p.num_rows * p.widths.back(), p.out, p.grad_out, largest};
}

inline FusedBackward fused_backward(const FusedShape& shape, const MlpBackward<float>& p, const float* packed, float* partial,
                                    const float* largest, const SharedMemory& memory) {
  const int in = shape.widths[0], out = shape.widths[shape.layers];
  return {shape, p.activation, memory.weights, memory.sums, reinterpret_cast<const Words4*>(packed),
          reinterpret_cast<const Words4*>(p.hidden), Matrix(p.x, p.num_rows, in), Matrix(p.out, p.num_rows, out),
          Matrix(p.grad_out, p.num_rows, out), Matrix(p.grad_x, p.num_rows, in), reinterpret_cast<Floats4*>(partial), largest};
}

inline SumPartials sum_partials(const FusedShape& shape, const MlpBackward<float>& p, const float* partial, const float* largest,
                                int64_t count) {
  SumPartials sum{shape, count, partial, largest, {}};
  std::copy(p.grad_weights.begin(), p.grad_weights.end(), sum.grad_weights);
  return sum;
}

}  // namespace nerfcore
