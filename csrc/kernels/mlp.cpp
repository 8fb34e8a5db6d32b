// Tiles of rows in parallel. Weight gradients are summed per chunk of tiles and then over the chunks in order: the same bits for
// any number of threads.
#include "kernels/mlp.h"

#include "core/parallel.h"
#include "kernels/mlp_tile.h"

namespace nerfcore {
namespace {

constexpr int64_t kMinTilesPerChunk = 8, kMaxChunks = 32;
// Larger activations are new memory at every call, which takes longer to come by than the backward pass to compute them again.
constexpr int64_t kMostKeptBytes = int64_t(1) << 28;

// Hidden activations of a tile: layer after layer, each [kTileRows, padded(width)].
template <class T> int64_t hidden_per_tile(const std::vector<int>& widths) {
  int64_t size = 0;
  for (size_t l = 1; l + 1 < widths.size(); ++l) size += int64_t(kTileRows) * padded<T>(widths[l]);
  return size;
}

template <class T, class P> std::vector<P*> hidden_layers(const std::vector<int>& widths, P* tile) {
  std::vector<P*> layers;
  for (size_t l = 1; l + 1 < widths.size(); tile += int64_t(kTileRows) * padded<T>(widths[l]), ++l) layers.push_back(tile);
  return layers;
}

// Asks for n values that the next tile reads: they come from memory while this one is computed.
template <class T> void prefetch(const T* values, int64_t n) {
  for (int64_t i = 0; i < n; i += kCacheLine / int64_t(sizeof(T))) __builtin_prefetch(values + i, 0, 2);
}

template <class T> void copy_rows(int rows, int width, const T* from, int from_row, T* to, int to_row) {
  if (from_row == width && to_row == width) std::memcpy(to, from, size_t(rows) * width * sizeof(T));
  else
    for (int i = 0; i < rows; ++i) std::memcpy(to + int64_t(i) * to_row, from + int64_t(i) * from_row, size_t(width) * sizeof(T));
}

// grad = dL/d(last layer's result) of the rows from `begin`, out_padded apart, zero in the padding.
template <class T> void last_gradient(const MlpBackward<T>& p, int64_t begin, int rows, int out, int out_padded, T* grad) {
  if (out < out_padded) std::memset(grad, 0, size_t(rows) * out_padded * sizeof(T));
  copy_rows(rows, out, p.grad_out + begin * out, out, grad, out_padded);
  if (p.activation == OutputActivation::kNone) return;
  for (int i = 0; i < rows; ++i)
    for (int o = 0; o < out; ++o)
      grad[i * out_padded + o] = output_activation_backward(p.out[(begin + i) * out + o], grad[i * out_padded + o], p.activation);
}

}  // namespace

template <class T> int64_t mlp_hidden_size(const std::vector<int>& widths, int64_t num_rows) {
  const int64_t size = (num_rows + kTileRows - 1) / kTileRows * hidden_per_tile<T>(widths);
  return size * int64_t(sizeof(T)) <= kMostKeptBytes ? size : 0;
}

template <class T> void mlp_forward_cpu(const MlpForward<T>& p, int threads) {
  const MlpTile<T> mlp(p.widths, p.weights);
  const int in = p.widths[0], out = p.widths[mlp.layers], out_padded = padded<T>(out);
  const int64_t per_tile = hidden_per_tile<T>(p.widths);
  parallel_for(p.num_rows, kTileRows, threads, [&](int64_t begin, int64_t end) {
    static thread_local Buffer<T> scratch;
    scratch.make_room(per_tile + int64_t(kTileRows) * out_padded);
    const int rows = int(end - begin);
    T *y = p.out + begin * out, *last = out == out_padded ? y : scratch.data() + per_tile;
    const auto hidden = hidden_layers<T>(p.widths, p.hidden ? p.hidden + begin / kTileRows * per_tile : scratch.data());
    prefetch(p.x + end * in, min_of<int64_t>(kTileRows, p.num_rows - end) * in);
    mlp.forward(rows, p.x + begin * in, in, hidden.data(), last);
    if (last != y) copy_rows(rows, out, last, out_padded, y, out);
    const int64_t values = int64_t(rows) * out;
    if (p.activation == OutputActivation::kSigmoid) map_in_place(y, values, [](Simd<T> v) { return T(1) / (T(1) + exp_of(-v)); });
    if (p.activation == OutputActivation::kExp) map_in_place(y, values, [](Simd<T> v) { return exp_of(v); });
    if (p.activation == OutputActivation::kRelu) map_in_place(y, values, [](Simd<T> v) { return v < Simd<T>{} ? Simd<T>{} : v; });
  });
}

template <class T> void mlp_backward_cpu(const MlpBackward<T>& p, int threads) {
  const MlpTile<T> mlp(p.widths, p.weights);
  const int in = p.widths[0], in_padded = padded<T>(in), out = p.widths[mlp.layers], out_padded = padded<T>(out);
  const int64_t per_tile = hidden_per_tile<T>(p.widths), tiles = (p.num_rows + kTileRows - 1) / kTileRows;
  const int64_t tiles_per_chunk = max_of(kMinTilesPerChunk, (tiles + kMaxChunks - 1) / kMaxChunks);
  const int64_t chunks = (tiles + tiles_per_chunk - 1) / tiles_per_chunk;
  Buffer<T> partial;
  partial.fill(T(0), chunks * mlp.partial_size());

  parallel_for(chunks, 1, threads, [&](int64_t chunk, int64_t) {
    static thread_local Buffer<T> scratch;
    scratch.make_room(mlp.scratch_size() + int64_t(kTileRows) * in_padded + per_tile);
    T *grad = scratch.data(), *grad_x = grad + mlp.scratch_size(), *again = grad_x + int64_t(kTileRows) * in_padded;
    const int64_t chunk_end = min_of((chunk + 1) * tiles_per_chunk, tiles);
    for (int64_t tile = chunk * tiles_per_chunk; tile < chunk_end; ++tile) {
      const int64_t begin = tile * kTileRows;
      const int rows = int(min_of<int64_t>(kTileRows, p.num_rows - begin));
      const int64_t end = begin + rows, next_rows = min_of<int64_t>(kTileRows, p.num_rows - end);
      prefetch(p.x + end * in, next_rows * in), prefetch(p.grad_out + end * out, next_rows * out);
      last_gradient(p, begin, rows, out, out_padded, grad);
      if (!p.hidden) mlp.forward(rows, p.x + begin * in, in, hidden_layers<T>(p.widths, again).data(), nullptr);
      const auto hidden = hidden_layers<T>(p.widths, p.hidden ? p.hidden + tile * per_tile : static_cast<const T*>(again));
      T* target = !p.grad_x ? nullptr : in == in_padded ? p.grad_x + begin * in : grad_x;
      mlp.backward(rows, p.x + begin * in, in, hidden.data(), grad, partial.data() + chunk * mlp.partial_size(), target,
                   p.hidden && tile + 1 < tiles ? per_tile : 0);
      if (target == grad_x) copy_rows(rows, in, grad_x, in_padded, p.grad_x + begin * in, in);
    }
  });
  mlp.sum_partials(partial.data(), chunks, mlp.partial_size(), p.grad_weights);
}

template int64_t mlp_hidden_size<float>(const std::vector<int>&, int64_t);
template int64_t mlp_hidden_size<double>(const std::vector<int>&, int64_t);
template void mlp_forward_cpu(const MlpForward<float>&, int);
template void mlp_forward_cpu(const MlpForward<double>&, int);
template void mlp_backward_cpu(const MlpBackward<float>&, int);
template void mlp_backward_cpu(const MlpBackward<double>&, int);

}  // namespace nerfcore
