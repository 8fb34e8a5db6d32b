// The network of an MLP on a tile of rows, all layers in a row, so that activations stay in the first two cache levels.
// Shared by the mlp operation and by the fused operations that contain networks. CPU only.
// Widths are padded to whole vectors inside; padding holds zeros.
#pragma once
#include "core/buffer.h"
#include "core/gemm.h"

#include <vector>

namespace nerfcore {

constexpr int kTileRows = 96;  // a multiple of both possible kGemmRows

template <class T> int padded(int width) { return int(padded_to(width, kLanes<T>)); }

template <class T> class MlpTile {
 public:
  // Layer l maps widths[l] to widths[l + 1]; weights[l] is [widths[l], widths[l + 1]] row-major.
  MlpTile(const std::vector<int>& widths, const std::vector<const T*>& weights) : widths(widths), layers(int(weights.size())) {
    partial_at.assign(layers + 1, 0);
    for (int l = 0; l < layers; ++l) {
      const int in = widths[l], out = widths[l + 1], in_padded = padded<T>(in), out_padded = padded<T>(out);
      partial_at[l + 1] = partial_at[l] + int64_t(in) * out_padded;
      widest = widest > in_padded ? widest : in_padded;
      widest = widest > out_padded ? widest : out_padded;
      forward_weights.emplace_back();
      backward_weights.emplace_back();
      forward_weights[l].fill(T(0), int64_t(in) * out_padded);
      backward_weights[l].fill(T(0), int64_t(out) * in_padded);
      for (int i = 0; i < in; ++i)
        for (int o = 0; o < out; ++o)
          forward_weights[l][int64_t(i) * out_padded + o] = backward_weights[l][int64_t(o) * in_padded + i] = weights[l][int64_t(i) * out + o];
    }
  }

  // hidden[l]: the rows of layer l's activations, padded(widths[l + 1]) apart; out: padded(widths[layers]) apart, before the
  // output activation, or null where only the activations are wanted. add_to_first: the first layer adds to what hidden[0] holds.
  void forward(int rows, const T* x, int64_t x_row, T* const* hidden, T* out, bool add_to_first = false) const {
    const auto relu = [](Simd<T> v, int, int) { return v < Simd<T>{} ? Simd<T>{} : v; };  // a NaN stays
    const T* a = x;
    int64_t a_row = x_row;
    for (int l = 0; l < layers; ++l) {
      const int columns = padded<T>(widths[l + 1]);
      const T* w = forward_weights[l].data();
      if (l + 1 < layers) gemm<T>(rows, columns, widths[l], a, a_row, 1, w, columns, hidden[l], columns, add_to_first && l == 0, relu);
      else if (out) gemm<T>(rows, columns, widths[l], a, a_row, 1, w, columns, out, columns, false);
      if (l + 1 < layers) a = hidden[l], a_row = columns;
    }
  }

  int64_t scratch_size() const { return int64_t(2) * kTileRows * widest; }
  int64_t partial_size() const { return partial_at[layers]; }

  // scratch [scratch_size] begins with dL/dout, rows padded(widths[layers]) apart, and is overwritten. Adds to partial
  // [partial_size], the gradients of the padded weights, and sets grad_x, rows padded(widths[0]) apart, unless it is null.
  // Returns dL/d(first layer's result before its ReLU), rows padded(widths[1]) apart. next_tile: how far behind `hidden` the
  // activations of the next tile are, which are brought closer meanwhile; 0 if that is unknown.
  const T* backward(int rows, const T* x, int64_t x_row, const T* const* hidden, T* scratch, T* partial, T* grad_x,
                    int64_t next_tile = 0) const {
    T *grad = scratch, *next = scratch + int64_t(kTileRows) * widest;
    for (int l = layers - 1; l >= 0; --l) {
      const int columns = padded<T>(widths[l + 1]), fan_in = widths[l], fan_in_padded = padded<T>(fan_in);
      const T* a = l > 0 ? hidden[l - 1] : x;
      const int64_t a_row = l > 0 ? fan_in_padded : x_row;
      gemm<T>(fan_in, columns, rows, a, 1, a_row, grad, columns, partial + partial_at[l], columns, true);
      const T* w = backward_weights[l].data();
      if (l == 0) {
        if (grad_x) gemm<T>(rows, fan_in_padded, widths[1], grad, columns, 1, w, fan_in_padded, grad_x, fan_in_padded, false);
        break;
      }
      const auto through_relu = [&](Simd<T> v, int row, int column) {
        return load(a + row * a_row + column) > Simd<T>{} ? v : Simd<T>{};
      };
      const auto fetching = [&](Simd<T> v, int row, int column) {
        __builtin_prefetch(a + row * a_row + column + next_tile, 0, 2);
        return through_relu(v, row, column);
      };
      const auto product = [&](const auto& epilogue) {
        gemm<T>(rows, fan_in_padded, widths[l + 1], grad, columns, 1, w, fan_in_padded, next, fan_in_padded, false, epilogue);
      };
      if (next_tile) product(fetching);
      else product(through_relu);
      T* swap = grad;
      grad = next, next = swap;
    }
    return grad;
  }

  // grad_weights[l] [widths[l], widths[l + 1]] = the sum of `count` partial gradients `stride` apart, always in the same order.
  void sum_partials(const T* partial, int64_t count, int64_t stride, const std::vector<T*>& grad_weights) const {
    std::vector<T> sum(partial_size(), T(0));
    for (int64_t c = 0; c < count; ++c)
      for (int64_t i = 0; i < partial_size(); ++i) sum[i] += partial[c * stride + i];
    for (int l = 0; l < layers; ++l)
      for (int i = 0; i < widths[l]; ++i)
        std::memcpy(grad_weights[l] + int64_t(i) * widths[l + 1], sum.data() + partial_at[l] + int64_t(i) * padded<T>(widths[l + 1]),
                    size_t(widths[l + 1]) * sizeof(T));
  }

  const std::vector<int> widths;
  const int layers;

 private:
  std::vector<Buffer<T>> forward_weights, backward_weights;  // W and W^T, their rows padded by zeros
  std::vector<int64_t> partial_at;                                // where a layer's gradient starts in a partial gradient
  int widest = 0;
};

}  // namespace nerfcore
