// The samples of a chunk of rays go through the density network together, round by round, and those that show through the colour
// network.
#include "kernels/ngp_rays.h"

#include <cmath>

#include "core/parallel.h"
#include "math/composite.h"

namespace nerfcore {
namespace {

constexpr int64_t kChunkRays = 512, kChunkPoints = 2048;

class RenderChunk {
 public:
  void render(const NgpRender& params, const NgpNetworks& networks, int64_t begin, int64_t end) {
    p = &params, nets = &networks, first = begin;
    start(end - begin);
    while (!front.alive.empty()) {
      front.march();
      density();
      transmit();
      color();
    }
    finish(end - begin);
  }

 private:
  void start(int64_t n) {
    front.start(p->rays, first, n);
    shown.assign(n, 0.0f);
    std::memset(p->rgb + 3 * first, 0, size_t(3 * n) * sizeof(float));
    std::memset(p->opacity + first, 0, size_t(n) * sizeof(float));
    std::memset(p->distance + first, 0, size_t(n) * sizeof(float));
    std::memset(p->median + first, 0, size_t(n) * sizeof(float));
    if (front.alive.empty()) return;
    code.make_room(n * nets->code_size), ray_part.make_room(n * nets->code_row);
    nets->direction_part(p->rays.direction + 3 * first, n, p->field.sh_degree, code.data(), ray_part.data());
  }

  void density() {
    features.make_room(front.samples * nets->feature_row), embedding.make_room(front.samples * nets->embedding_row);
    sigma.make_room(padded_to(front.samples, kLanes<float>)), hidden.grow(nets->density, kTileRows, 0);
    ngp_density(p->field, *nets, front.x.data(), front.samples, features.data(), [&](int64_t) { return hidden.at(nets->density, 0); },
                embedding.data(), sigma.data());
  }

  // Opacity and distances, and which samples show, in how much light.
  void transmit() {
    showing.clear();
    front.transmit(sigma.data(), [&](int64_t r, int64_t i, float weight, float behind) {
      float& median = p->median[first + r];
      if (behind < 0.5f && median == 0) median = front.marched.t_start[i] + std::log(max_of(2 * (behind + weight), 1.0f)) / sigma[i];
      p->opacity[first + r] += weight;
      p->distance[first + r] += weight * (front.marched.t_start[i] + mean_stop(sigma[i] * front.step[i], front.step[i]));
      if (weight > p->shows) showing.push_back({i, r, weight});
    });
  }

  void color() {
    const auto& mlp = nets->color;
    const int64_t width = nets->embedding_row;
    tile.make_room(kTileRows * width), hidden_color.grow(mlp, kTileRows, 0);
    const auto layers = hidden_color.at(mlp, 0);
    for (size_t b = 0; b < showing.size(); b += kTileRows) {
      const int rows = int(min_of<size_t>(kTileRows, showing.size() - b));
      float rgb[3 * kTileRows];
      for (int i = 0; i < rows; ++i) {
        std::memcpy(&tile[i * width], &embedding[showing[b + i].sample * width], size_t(width) * sizeof(float));
        std::memcpy(layers[0] + i * nets->code_row, &ray_part[showing[b + i].ray * nets->code_row], size_t(nets->code_row) * sizeof(float));
      }
      nets->color_tile(rows, tile.data(), layers.data(), rgb);
      for (int i = 0; i < rows; ++i) {
        const Showing& s = showing[b + i];
        shown[s.ray] += s.weight;
        for (int c = 0; c < 3; ++c) p->rgb[3 * (first + s.ray) + c] += s.weight * rgb[3 * i + c];
      }
    }
  }

  void finish(int64_t n) {
    for (int64_t r = 0; r < n; ++r)
      for (int c = 0; c < 3; ++c) p->rgb[3 * (first + r) + c] *= p->opacity[first + r] / max_of(shown[r], 1e-10f);
  }

  struct Showing {
    int64_t sample, ray;
    float weight;
  };

  const NgpRender* p = nullptr;
  const NgpNetworks* nets = nullptr;
  int64_t first = 0;
  NgpRayChunk front;
  std::vector<float> shown;  // weight of the samples whose colours a ray has
  std::vector<Showing> showing;
  Buffer<float> features, embedding, sigma, code, ray_part, tile;
  NgpHidden hidden, hidden_color;
};

}  // namespace

void ngp_density_cpu(const NgpDensity& p, int threads) {
  const NgpNetworks nets(p.field);
  parallel_for(p.num_points, kChunkPoints, threads, [&](int64_t begin, int64_t end) {
    static thread_local Buffer<float> features, embedding;
    static thread_local NgpHidden hidden;
    features.make_room(kChunkPoints * nets.feature_row), embedding.make_room(kChunkPoints * nets.embedding_row);
    hidden.grow(nets.density, kTileRows, 0);
    ngp_density(p.field, nets, p.x + 3 * begin, end - begin, features.data(), [&](int64_t) { return hidden.at(nets.density, 0); }, embedding.data(),
                p.sigma + begin);
  });
}

void ngp_render_cpu(const NgpRender& params, int threads) {
  const NgpNetworks nets(params.field);
  parallel_for(params.rays.num_rays, kChunkRays, threads, [&](int64_t begin, int64_t end) {
    static thread_local RenderChunk chunk;
    chunk.render(params, nets, begin, end);
  });
}

}  // namespace nerfcore
