// A chunk of rays marches a few samples at a time, so that little is computed behind what a ray cannot pass; the samples of all its
// rays go through the density network together, and those that show through the colour network.
#include "kernels/march_lanes.h"

#include "core/parallel.h"
#include "kernels/ngp_networks.h"
#include "math/intersect.h"

#include <limits>

namespace nerfcore {
namespace {

constexpr int64_t kChunkRays = 512;

class RenderChunk {
 public:
  void render(const NgpRender& params, const NgpNetworks& networks, int64_t begin, int64_t end) {
    p = &params, nets = &networks, first = begin;
    start(end - begin);
    while (!alive.empty()) {
      march();
      density();
      transmit();
      color();
      retire();
    }
    finish(end - begin);
  }

 private:
  void start(int64_t n) {
    const float low[3] = {0, 0, 0}, high[3] = {1, 1, 1};
    rays.resize(n), transmittance.assign(n, 1.0f), taken.assign(n, 0), shown.assign(n, 0.0f), alive.clear();
    std::memset(p->rgb + 3 * first, 0, size_t(3 * n) * sizeof(float));
    std::memset(p->opacity + first, 0, size_t(n) * sizeof(float));
    std::memset(p->distance + first, 0, size_t(n) * sizeof(float));
    for (int64_t r = 0; r < n; ++r) {
      const float *origin = p->origin + 3 * (first + r), *direction = p->direction + 3 * (first + r);
      float t_in, t_out;
      intersect_box(origin, direction, low, high, p->near, std::numeric_limits<float>::infinity(), &t_in, &t_out);
      rays[r] = march_begin(p->grid, origin, direction, t_in, t_out, 0.0f);
      if (rays[r].t < rays[r].far) alive.push_back(r);
    }
    if (alive.empty()) return;
    code.make_room(n * nets->code_size), ray_part.make_room(n * nets->code_row);
    nets->direction_part(p->direction + 3 * first, n, p->field.sh_degree, code.data(), ray_part.data());
  }

  // The next few samples of every ray that is alive: positions and steps.
  void march() {
    marching.clear();
    for (int64_t r : alive) marching.push_back(&rays[r]);
    MarchLanes<float>(p->grid, kRenderRound, marching, &marched).run();
    samples = int64_t(marched.t_start.size());
    x.make_room(3 * samples), step.make_room(padded_to(samples, kLanes<float>));
    for (size_t a = 0; a < alive.size(); ++a)
      for (int64_t i = marched.begin[a]; i < marched.begin[a] + marched.count[a]; ++i) {
        const MarchRay<float>& ray = rays[alive[a]];
        const float t = middle(i);
        step[i] = marched.t_end[i] - marched.t_start[i];
        for (int d = 0; d < 3; ++d) x[3 * i + d] = ray.origin[d] + t * ray.direction[d];
      }
  }

  void density() {
    const auto& mlp = nets->density;
    features.make_room(samples * nets->feature_row), embedding.make_room(samples * nets->embedding_row);
    sigma.make_room(padded_to(samples, kLanes<float>)), hidden.make_room(mlp, kTileRows);
    NC_GRID_FEATURES(p->field.features, ngp_encode<F>(p->field, x.data(), samples, features.data(), nets->feature_row));
    for (int64_t b = 0; b < samples; b += kTileRows)
      mlp.forward(int(min_of<int64_t>(kTileRows, samples - b)), &features[b * nets->feature_row], nets->feature_row, hidden.at(mlp, 0).data(),
                  &embedding[b * nets->embedding_row]);
    ngp_sigma(p->field, embedding.data(), nets->embedding_row, samples, sigma.data());
  }

  // Opacity and distance, and which samples show, in how much light.
  void transmit() {
    absorbed.make_room(padded_to(samples, kLanes<float>)), passed.make_room(padded_to(samples, kLanes<float>));
    ngp_absorb(sigma.data(), step.data(), samples, absorbed.data(), passed.data());
    showing.clear();
    for (size_t a = 0; a < alive.size(); ++a) {
      const int64_t r = alive[a], end = marched.begin[a] + marched.count[a];
      taken[r] += marched.count[a];
      for (int64_t i = marched.begin[a]; i < end && transmittance[r] >= p->stop_below; ++i) {
        const float weight = transmittance[r] * absorbed[i];
        transmittance[r] *= passed[i];
        p->opacity[first + r] += weight;
        p->distance[first + r] += weight * middle(i);
        if (weight > p->shows) showing.push_back({i, r, weight});
      }
    }
  }

  void color() {
    const auto& mlp = nets->color;
    const int64_t width = nets->embedding_row;
    tile.make_room(kTileRows * width), hidden_color.make_room(mlp, kTileRows);
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

  void retire() {
    size_t kept = 0;
    for (int64_t r : alive)
      if (transmittance[r] >= p->stop_below && rays[r].t < rays[r].far && taken[r] < p->max_samples) alive[kept++] = r;
    alive.resize(kept);
  }

  void finish(int64_t n) {
    for (int64_t r = 0; r < n; ++r)
      for (int c = 0; c < 3; ++c) p->rgb[3 * (first + r) + c] *= p->opacity[first + r] / max_of(shown[r], 1e-10f);
  }

  float middle(int64_t i) const { return 0.5f * (marched.t_start[i] + marched.t_end[i]); }

  struct Showing {
    int64_t sample, ray;
    float weight;
  };

  const NgpRender* p = nullptr;
  const NgpNetworks* nets = nullptr;
  int64_t first = 0, samples = 0;
  std::vector<MarchRay<float>> rays;
  std::vector<MarchRay<float>*> marching;
  std::vector<int64_t> alive, taken;
  std::vector<float> transmittance, shown;
  std::vector<Showing> showing;
  MarchedSamples<float> marched;
  Buffer<float> x, step, features, embedding, sigma, absorbed, passed, code, ray_part, tile;
  NgpHidden hidden, hidden_color;
};

}  // namespace

void ngp_render_cpu(const NgpRender& params, int threads) {
  const NgpNetworks nets(params.field);
  parallel_for(params.num_rays, kChunkRays, threads, [&](int64_t begin, int64_t end) {
    static thread_local RenderChunk chunk;
    chunk.render(params, nets, begin, end);
  });
}

}  // namespace nerfcore
