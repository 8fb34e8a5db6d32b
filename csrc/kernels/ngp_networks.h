// What the training step and the renderer of an Instant-NGP field share. CPU only.
#pragma once
#include "kernels/hash_grid.h"
#include "kernels/hash_grid_block.h"
#include "kernels/mlp_tile.h"
#include "kernels/ngp.h"
#include "math/spherical_harmonics.h"

namespace nerfcore {

// The networks of a field with their weights packed. The part of the colour network's first layer that sees the direction is
// applied once for each ray: see `direction_part`.
struct NgpNetworks {
  explicit NgpNetworks(const NgpField& field)
      : density(field.density_widths, field.density_weights),
        color(color_widths(field), field.color_weights),
        features(field.levels.count * field.features),
        feature_row(padded<float>(features)),
        embedding_row(padded<float>(field.density_widths.back())),
        code_size(field.sh_degree * field.sh_degree),
        code_row(padded<float>(color.widths[1])) {
    const int out = color.widths[1];
    code_weights.fill(0.0f, int64_t(code_size) * code_row);
    for (int i = 0; i < code_size; ++i)
      std::memcpy(&code_weights[int64_t(i) * code_row], field.color_weights[0] + int64_t(color.widths[0] + i) * out, out * sizeof(float));
  }

  // part [n, code_row]: what the directions [n, 3] add to the colour network's first layer; code [n, code_size]: their harmonics.
  void direction_part(const float* direction, int64_t n, int sh_degree, float* code, float* part) const {
    for (int64_t i = 0; i < n; ++i) spherical_harmonics_basis(direction + 3 * i, sh_degree, code + i * code_size);
    gemm<float>(int(n), code_row, code_size, code, code_size, 1, code_weights.data(), code_row, part, code_row, false);
  }

  // rgb [rows, 3] from the embeddings [rows, embedding_row] of a tile; hidden[0] holds the direction parts.
  void color_tile(int rows, const float* embedding, float* const* hidden, float* rgb) const {
    float logits[kTileRows * kLanes<float>];
    static_assert(kLanes<float> >= 3, "three channels must fit a vector");
    color.forward(rows, embedding, embedding_row, hidden, logits, true);
    for (int i = 0; i < rows; ++i)
      for (int c = 0; c < 3; ++c) rgb[3 * i + c] = logits[i * kLanes<float> + c];
    map_in_place(rgb, 3 * rows, [](Floats v) { return 1.0f / (1.0f + exp_of(-v)); });
  }

  static std::vector<int> color_widths(const NgpField& field) {
    std::vector<int> widths = field.color_widths;
    widths[0] = field.density_widths.back();
    return widths;
  }

  int64_t partial_size() const { return density.partial_size() + color.partial_size() + int64_t(code_size) * code_row; }

  const MlpTile<float> density, color;
  const int features, feature_row, embedding_row, code_size, code_row;
  Buffer<float> code_weights;  // [code_size, code_row]
};

// Activations between the layers of a network of many samples: one array a layer, so that rows can be moved.
class NgpHidden {
 public:
  // Room for more rows; the first `used` stay.
  void grow(const MlpTile<float>& mlp, int64_t rows, int64_t used) {
    values.resize(mlp.layers - 1);
    for (int l = 0; l + 1 < mlp.layers; ++l) {
      const int64_t row = padded<float>(mlp.widths[l + 1]);
      values[l].grow(rows * row, used * row);
    }
  }
  std::vector<float*> at(const MlpTile<float>& mlp, int64_t row) {
    std::vector<float*> layers;
    for (int l = 0; l + 1 < mlp.layers; ++l) layers.push_back(values[l].data() + row * padded<float>(mlp.widths[l + 1]));
    return layers;
  }
  void move(const MlpTile<float>& mlp, int64_t to, int64_t from, int64_t rows) {
    const auto targets = at(mlp, to), sources = at(mlp, from);
    for (size_t l = 0; l < targets.size(); ++l)
      std::memmove(targets[l], sources[l], size_t(rows) * padded<float>(mlp.widths[l + 1]) * sizeof(float));
  }

 private:
  std::vector<Buffer<float>> values;
};

// features [n, feature_row] = the hash grid at x [n, 3].
template <int F> void ngp_encode(const NgpField& field, const float* x, int64_t n, float* features, int64_t feature_row) {
  for (int l = 0; l < field.levels.count; ++l) {
    const GridLevel<float, 3, F> grid(field.levels, l);
    field.table.visit([&](auto* table) { grid.gather(table, x, 0, n, features + l * F, feature_row); });
  }
}

// Hash grid and density network of the points x [n, 3]: features [n, feature_row], embedding [n, embedding_row] and density sigma [n].
// hidden_at(row) gives the layers' memory for the tile of rows that begins there.
template <class HiddenAt>
void ngp_density(const NgpField& field, const NgpNetworks& nets, const float* x, int64_t n, float* features, const HiddenAt& hidden_at,
                 float* embedding, float* sigma) {
  NC_GRID_FEATURES(field.features, ngp_encode<F>(field, x, n, features, nets.feature_row));
  for (int64_t b = 0; b < n; b += kTileRows)
    nets.density.forward(int(min_of<int64_t>(kTileRows, n - b)), features + b * nets.feature_row, nets.feature_row, hidden_at(b).data(),
                         embedding + b * nets.embedding_row);
  for (int64_t i = 0; i < n; ++i) sigma[i] = min_of(embedding[i * nets.embedding_row], field.max_log_density);
  map_in_place(sigma, n, [](Floats v) { return exp_of(v); });
}

}  // namespace nerfcore
