// The whole network runs on a tile of rows at a time, so that activations stay in the first two cache levels.
// Widths are padded to whole vectors inside; weight gradients are summed per chunk of tiles and then over the chunks in order:
// the same bits for any number of threads.
#include "kernels/mlp.h"

#include "core/gemm.h"
#include "core/parallel.h"

namespace nerfcore {
namespace {

constexpr int kTileRows = 96;  // a multiple of kGemmRows
constexpr int64_t kMinTilesPerChunk = 8, kMaxChunks = 32;

template <class T> int padded(int width) { return (width + kLanes<T> - 1) / kLanes<T> * kLanes<T>; }

// Weights with their rows padded by zeros; transposed, W^T [out, padded(in)].
template <class T> std::vector<std::vector<T>> pack(const std::vector<int>& widths, const std::vector<const T*>& weights, bool transposed) {
  std::vector<std::vector<T>> packed(weights.size());
  for (size_t l = 0; l < weights.size(); ++l) {
    const int in = widths[l], out = widths[l + 1], columns = padded<T>(transposed ? in : out);
    packed[l].assign(size_t(transposed ? out : in) * columns, T(0));
    for (int i = 0; i < in; ++i)
      for (int o = 0; o < out; ++o) packed[l][transposed ? size_t(o) * columns + i : size_t(i) * columns + o] = weights[l][size_t(i) * out + o];
  }
  return packed;
}

// Hidden activations of a tile: layer after layer, each [kTileRows, padded(width)].
template <class T> int64_t hidden_per_tile(const std::vector<int>& widths) {
  int64_t size = 0;
  for (size_t l = 1; l + 1 < widths.size(); ++l) size += int64_t(kTileRows) * padded<T>(widths[l]);
  return size;
}

template <class T> int widest(const std::vector<int>& widths) {
  int width = 0;
  for (int w : widths) width = padded<T>(w) > width ? padded<T>(w) : width;
  return width;
}

}  // namespace

template <class T> int64_t mlp_hidden_size(const std::vector<int>& widths, int64_t num_rows) {
  return (num_rows + kTileRows - 1) / kTileRows * hidden_per_tile<T>(widths);
}

template <class T> void mlp_forward_cpu(const MlpForward<T>& p, int threads) {
  const int layers = int(p.weights.size()), in = p.widths[0], out = p.widths[layers], out_padded = padded<T>(out);
  const int64_t per_tile = hidden_per_tile<T>(p.widths);
  const auto weights = pack(p.widths, p.weights, false);
  parallel_for(p.num_rows, kTileRows, threads, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<T> scratch;
    scratch.resize(size_t(per_tile) + size_t(kTileRows) * out_padded);
    const int rows = int(end - begin);
    T* hidden = p.hidden ? p.hidden + begin / kTileRows * per_tile : scratch.data();
    T* last = scratch.data() + per_tile;
    const T* a = p.x + begin * in;
    int64_t a_row = in;
    for (int l = 0; l < layers; ++l) {
      const int columns = padded<T>(p.widths[l + 1]);
      T* c = l + 1 < layers ? hidden : last;
      gemm<T>(rows, columns, p.widths[l], a, a_row, 1, weights[l].data(), columns, c, columns, false);
      if (l + 1 < layers)
        for (int i = 0; i < rows * columns; ++i) c[i] = c[i] < T(0) ? T(0) : c[i];  // a NaN stays
      a = c, a_row = columns, hidden += int64_t(kTileRows) * columns;
    }
    T* y = p.out + begin * out;
    for (int i = 0; i < rows; ++i)
      for (int o = 0; o < out; ++o) y[i * out + o] = output_activation(last[i * out_padded + o], p.activation);
  });
}

template <class T> void mlp_backward_cpu(const MlpBackward<T>& p, int threads) {
  const int layers = int(p.weights.size()), in = p.widths[0], out = p.widths[layers], width = widest<T>(p.widths);
  const int64_t per_tile = hidden_per_tile<T>(p.widths), tiles = (p.num_rows + kTileRows - 1) / kTileRows;
  const int64_t tiles_per_chunk = max_of(kMinTilesPerChunk, (tiles + kMaxChunks - 1) / kMaxChunks);
  const int64_t chunks = (tiles + tiles_per_chunk - 1) / tiles_per_chunk;
  const auto transposed = pack(p.widths, p.weights, true);

  std::vector<int64_t> at(layers + 1, 0);  // where a layer's gradient starts in a chunk's partial sums
  for (int l = 0; l < layers; ++l) at[l + 1] = at[l] + int64_t(p.widths[l]) * padded<T>(p.widths[l + 1]);
  std::vector<T> partial(size_t(chunks * at[layers]), T(0));

  parallel_for(chunks, 1, threads, [&](int64_t chunk, int64_t) {
    static thread_local std::vector<T> scratch;
    scratch.resize(size_t(2) * kTileRows * width);
    const int64_t chunk_end = min_of((chunk + 1) * tiles_per_chunk, tiles);
    for (int64_t tile = chunk * tiles_per_chunk; tile < chunk_end; ++tile) {
      const int64_t begin = tile * kTileRows;
      const int rows = int(min_of<int64_t>(kTileRows, p.num_rows - begin));
      T *grad = scratch.data(), *next = grad + size_t(kTileRows) * width;
      int columns = padded<T>(out);
      for (int i = 0; i < rows; ++i)
        for (int o = 0; o < columns; ++o)
          grad[i * columns + o] = o < out ? output_activation_backward(p.out[(begin + i) * out + o], p.grad_out[(begin + i) * out + o], p.activation) : T(0);
      const T* hidden = p.hidden + (tile + 1) * per_tile;  // walked backwards
      for (int l = layers - 1; l >= 0; --l) {
        const int fan_in = p.widths[l], fan_in_padded = padded<T>(fan_in);
        if (l > 0) hidden -= int64_t(kTileRows) * fan_in_padded;
        const T* a = l > 0 ? hidden : p.x + begin * in;
        const int64_t a_row = l > 0 ? fan_in_padded : in;
        gemm<T>(fan_in, columns, rows, a, 1, a_row, grad, columns, partial.data() + chunk * at[layers] + at[l], columns, true);
        if (l == 0 && !p.grad_x) break;
        const bool direct = l == 0 && fan_in_padded == fan_in;
        T* target = direct ? p.grad_x + begin * in : next;
        gemm<T>(rows, fan_in_padded, p.widths[l + 1], grad, columns, 1, transposed[l].data(), fan_in_padded, target, fan_in_padded, false);
        if (l > 0) {
          for (int i = 0; i < rows * fan_in_padded; ++i) next[i] = a[i] > T(0) ? next[i] : T(0);
        } else if (!direct) {
          for (int i = 0; i < rows; ++i)
            for (int j = 0; j < in; ++j) p.grad_x[(begin + i) * in + j] = next[i * fan_in_padded + j];
        }
        T* swap = grad;
        grad = next, next = swap, columns = fan_in_padded;
      }
    }
  });

  for (int l = 0; l < layers; ++l) {
    const int fan_out = p.widths[l + 1], columns = padded<T>(fan_out);
    for (int i = 0; i < p.widths[l]; ++i)
      for (int o = 0; o < fan_out; ++o) {
        T sum = T(0);
        for (int64_t c = 0; c < chunks; ++c) sum += partial[size_t(c * at[layers] + at[l] + int64_t(i) * columns + o)];
        p.grad_weights[l][int64_t(i) * fan_out + o] = sum;
      }
  }
}

template int64_t mlp_hidden_size<float>(const std::vector<int>&, int64_t);
template int64_t mlp_hidden_size<double>(const std::vector<int>&, int64_t);
template void mlp_forward_cpu(const MlpForward<float>&, int);
template void mlp_forward_cpu(const MlpForward<double>&, int);
template void mlp_backward_cpu(const MlpBackward<float>&, int);
template void mlp_backward_cpu(const MlpBackward<double>&, int);

}  // namespace nerfcore
