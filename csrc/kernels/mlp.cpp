// Tiles of rows in parallel. Weight gradients are summed per chunk of tiles and then over the chunks in order: the same bits for
// any number of threads.
#include "kernels/mlp.h"

#include "core/parallel.h"
#include "kernels/mlp_tile.h"

namespace nerfcore {
namespace {

constexpr int64_t kMinTilesPerChunk = 8, kMaxChunks = 32;

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

template <class T> Simd<T> activate(Simd<T> v, OutputActivation kind) {
  return kind == OutputActivation::kSigmoid ? T(1) / (T(1) + exp_of(-v)) : v;
}

}  // namespace

template <class T> int64_t mlp_hidden_size(const std::vector<int>& widths, int64_t num_rows) {
  return (num_rows + kTileRows - 1) / kTileRows * hidden_per_tile<T>(widths);
}

template <class T> void mlp_forward_cpu(const MlpForward<T>& p, int threads) {
  const MlpTile<T> mlp(p.widths, p.weights);
  const int in = p.widths[0], out = p.widths[mlp.layers], out_padded = padded<T>(out);
  const int64_t per_tile = hidden_per_tile<T>(p.widths);
  parallel_for(p.num_rows, kTileRows, threads, [&](int64_t begin, int64_t end) {
    static thread_local Buffer<T> scratch;
    scratch.make_room(per_tile + int64_t(kTileRows) * out_padded);
    const int rows = int(end - begin);
    T *last = scratch.data() + per_tile, *y = p.out + begin * out;
    const auto hidden = hidden_layers<T>(p.widths, p.hidden ? p.hidden + begin / kTileRows * per_tile : scratch.data());
    mlp.forward(rows, p.x + begin * in, in, hidden.data(), last);
    for (int i = 0; i < rows; ++i) std::memcpy(y + i * out, last + i * out_padded, size_t(out) * sizeof(T));
    map_in_place(y, int64_t(rows) * out, [&](Simd<T> v) { return activate<T>(v, p.activation); });
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
    scratch.make_room(mlp.scratch_size() + int64_t(kTileRows) * in_padded);
    T *grad = scratch.data(), *grad_x = grad + mlp.scratch_size();
    const int64_t chunk_end = min_of((chunk + 1) * tiles_per_chunk, tiles);
    for (int64_t tile = chunk * tiles_per_chunk; tile < chunk_end; ++tile) {
      const int64_t begin = tile * kTileRows;
      const int rows = int(min_of<int64_t>(kTileRows, p.num_rows - begin));
      for (int i = 0; i < rows; ++i)
        for (int o = 0; o < out_padded; ++o)
          grad[i * out_padded + o] =
              o < out ? output_activation_backward(p.out[(begin + i) * out + o], p.grad_out[(begin + i) * out + o], p.activation) : T(0);
      const auto hidden = hidden_layers<T>(p.widths, p.hidden + tile * per_tile);
      T* target = !p.grad_x ? nullptr : in == in_padded ? p.grad_x + begin * in : grad_x;
      mlp.backward(rows, p.x + begin * in, in, hidden.data(), grad, partial.data() + chunk * mlp.partial_size(), target);
      if (target == grad_x)
        for (int i = 0; i < rows; ++i) std::memcpy(p.grad_x + (begin + i) * in, grad_x + i * in_padded, size_t(in) * sizeof(T));
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
