// The whole step for a chunk of rays at a time: a few hundred samples, so that features, activations and their gradients stay
// in the second-level cache. Only positions and feature gradients leave it; they are scattered to the table at the end, level by
// level. Chunks follow from the samples alone, and sums run over them in order: the same bits for any number of threads.
#include "kernels/ngp.h"

#include "core/parallel.h"
#include "kernels/ngp_networks.h"
#include "math/composite.h"

namespace nerfcore {
namespace {

constexpr int64_t kChunkSamples = 10 * kTileRows;  // at about 1 KB each
constexpr int64_t kChunkRays = 256;               // at most, where rays are almost empty
constexpr int64_t kMaxGroups = 32;                // of chunks; each sums its own weight gradients

// The samples of a few consecutive rays. After `transmit` only those that light reaches are left, ray by ray without gaps.
class Chunk {
 public:
  void begin(const NgpField& of_field, const NgpRays& of_rays, const NgpNetworks& networks, int64_t first, int64_t end) {
    field = &of_field, rays = &of_rays, nets = &networks;
    first_ray = first, num_rays = end - first;
    first_sample = rays->ray_offsets[first], samples = rays->ray_offsets[end] - first_sample;
    x.make_room(3 * samples), step.make_room(padded_to(samples, kLanes<float>));
    for (int64_t r = first; r < end; ++r)
      for (int64_t s = rays->ray_offsets[r]; s < rays->ray_offsets[r + 1]; ++s) {
        const float t = 0.5f * (rays->t_start[s] + rays->t_end[s]);
        step[s - first_sample] = rays->t_end[s] - rays->t_start[s];
        for (int d = 0; d < 3; ++d) x[3 * (s - first_sample) + d] = rays->origin[3 * r + d] + t * rays->direction[3 * r + d];
      }
  }

  // Hash grid and density network of all samples.
  void density() {
    features.make_room(samples * nets->feature_row), embedding.make_room(samples * nets->embedding_row);
    sigma.make_room(padded_to(samples, kLanes<float>)), density_hidden.make_room(nets->density, samples);
    NC_GRID_FEATURES(field->features, ngp_encode<F>(*field, x.data(), samples, features.data(), nets->feature_row));
    for (int64_t b = 0; b < samples; b += kTileRows)
      nets->density.forward(tile_rows(b, samples), &features[b * nets->feature_row], nets->feature_row, density_hidden.at(nets->density, b).data(),
                           &embedding[b * nets->embedding_row]);
    ngp_sigma(*field, embedding.data(), nets->embedding_row, samples, sigma.data());
  }

  // How much each sample weighs; keeps the samples before the end of each ray.
  void transmit(float* weight) {
    absorbed.make_room(padded_to(samples, kLanes<float>)), passed.make_room(padded_to(samples, kLanes<float>)), after.make_room(samples), live.assign(1, 0);
    ngp_absorb(sigma.data(), step.data(), samples, absorbed.data(), passed.data());
    for (int64_t r = 0; r < num_rays; ++r) {
      const int64_t from = offset(r), to = live.back(), end = offset(r + 1);
      float transmittance = 1.0f;
      int64_t i = from;
      for (; i < end && transmittance >= rays->stop_below; ++i) {
        weight[first_sample + i] = transmittance * absorbed[i];
        after[to + i - from] = transmittance *= passed[i];
      }
      keep(from, to, i - from);
      for (int64_t s = i; s < end; ++s) weight[first_sample + s] = 0.0f;
      live.push_back(to + i - from);
    }
  }

  // Colour network of the samples that are left.
  void color() {
    const int64_t kept = live.back();
    code.make_room(num_rays * nets->code_size), ray_part.make_room(num_rays * nets->code_row);
    rgb.make_room(3 * kept), color_hidden.make_room(nets->color, kept);
    nets->direction_part(rays->direction + 3 * first_ray, num_rays, field->sh_degree, code.data(), ray_part.data());
    float* first_layer = color_hidden.at(nets->color, 0)[0];
    for (int64_t r = 0; r < num_rays; ++r)
      for (int64_t i = live[r]; i < live[r + 1]; ++i)
        std::memcpy(first_layer + i * nets->code_row, &ray_part[r * nets->code_row], nets->code_row * sizeof(float));
    for (int64_t b = 0; b < kept; b += kTileRows)
      nets->color_tile(tile_rows(b, kept), &embedding[b * nets->embedding_row], color_hidden.at(nets->color, b).data(), &rgb[3 * b]);
  }

  // The squared error of the rays, and its gradient at each sample's density and colour.
  double compare(const float* background, const float* truth, const float* weight) {
    const int64_t kept = live.back();
    const float scale = 2.0f / float(3 * rays->num_rays);
    grad_sigma.make_room(kept), grad_rgb.make_room(3 * kept);
    double error = 0.0;
    for (int64_t r = 0; r < num_rays; ++r) {
      const int64_t from = live[r], n = live[r + 1] - from, ray = first_ray + r, s = first_sample + offset(r);
      const float* w = weight + s;
      float out[3] = {}, opacity = 0.0f, grad_out[3], grad_opacity = 0.0f;
      for (int64_t i = 0; i < n; ++i) {
        opacity += w[i];
        for (int c = 0; c < 3; ++c) out[c] += w[i] * rgb[3 * (from + i) + c];
      }
      for (int c = 0; c < 3; ++c) {
        const float behind = background[3 * ray + c], difference = out[c] + (1.0f - opacity) * behind - truth[3 * ray + c];
        error += double(difference) * difference;
        grad_out[c] = scale * difference;
        grad_opacity -= grad_out[c] * behind;
      }
      composite_ray_backward<float>(n, &rgb[3 * from], rays->t_start + s, rays->t_end + s, w, &after[from], grad_out, grad_opacity, 0.0f, nullptr,
                                    &grad_sigma[from], &grad_rgb[3 * from]);
    }
    return error;
  }

  // Adjoint of `color` and `density` up to the features; adds to the partial weight gradients.
  void backward(float* partial, float* grad_features) {
    const int64_t kept = live.back(), width = nets->embedding_row;
    float *partial_color = partial + nets->density.partial_size(), *partial_code = partial_color + nets->color.partial_size();
    color_scratch.make_room(nets->color.scratch_size()), density_scratch.make_room(nets->density.scratch_size());
    ray_part.fill(0.0f, num_rays * nets->code_row);
    int64_t ray = 0;
    for (int64_t b = 0; b < kept; b += kTileRows) {
      const int rows = tile_rows(b, kept), columns = padded<float>(3);
      color_scratch.fill(0.0f, rows * columns);
      for (int i = 0; i < rows; ++i)
        for (int c = 0; c < 3; ++c) {
          const float y = rgb[3 * (b + i) + c];
          color_scratch[i * columns + c] = grad_rgb[3 * (b + i) + c] * y * (1.0f - y);
        }
      const float* e = &embedding[b * width];
      float* grad_embedding = density_scratch.data();
      const float* grad_first = nets->color.backward(rows, e, width, color_hidden.at(nets->color, b).data(), color_scratch.data(), partial_color, grad_embedding);
      for (int i = 0; i < rows; ++i) {
        while (b + i >= live[ray + 1]) ++ray;
        for (int j = 0; j < nets->code_row; ++j) ray_part[ray * nets->code_row + j] += grad_first[i * nets->code_row + j];
        if (e[i * width] <= field->max_log_density) grad_embedding[i * width] += grad_sigma[b + i] * sigma[b + i];
      }
      nets->density.backward(rows, &features[b * nets->feature_row], nets->feature_row, density_hidden.at(nets->density, b).data(), grad_embedding,
                            partial, grad_features + (first_sample + b) * nets->feature_row);
    }
    gemm<float>(nets->code_size, nets->code_row, int(num_rays), code.data(), 1, nets->code_size, ray_part.data(), nets->code_row, partial_code,
                nets->code_row, true);
  }

  // Positions of the samples that are left, to out[first_sample ...]; returns their number.
  int64_t positions(float* out) const {
    std::memcpy(out + 3 * first_sample, x.data(), size_t(3 * live.back()) * sizeof(float));
    return live.back();
  }

 private:
  int64_t offset(int64_t r) const { return rays->ray_offsets[first_ray + r] - first_sample; }
  static int tile_rows(int64_t begin, int64_t end) { return int(min_of<int64_t>(kTileRows, end - begin)); }

  void keep(int64_t from, int64_t to, int64_t n) {
    if (from == to || n == 0) return;
    const auto move = [&](Buffer<float>& values, int64_t row) {
      std::memmove(&values[to * row], &values[from * row], size_t(n * row) * sizeof(float));
    };
    move(x, 3), move(sigma, 1), move(features, nets->feature_row), move(embedding, nets->embedding_row);
    density_hidden.move(nets->density, to, from, n);
  }

  const NgpField* field = nullptr;
  const NgpRays* rays = nullptr;
  const NgpNetworks* nets = nullptr;
  int64_t first_ray = 0, num_rays = 0, first_sample = 0, samples = 0;
  std::vector<int64_t> live;  // [num_rays + 1], where the samples that are left of each ray begin
  Buffer<float> x, step, features, embedding, sigma, absorbed, passed, after;
  Buffer<float> code, ray_part, rgb, grad_sigma, grad_rgb, color_scratch, density_scratch;
  NgpHidden density_hidden, color_hidden;
};

// Borders of the chunks: consecutive rays until there are enough samples.
std::vector<int64_t> chunk_rays(const NgpRays& rays) {
  std::vector<int64_t> borders{0};
  for (int64_t r = 1; r <= rays.num_rays; ++r)
    if (r == rays.num_rays || r - borders.back() == kChunkRays || rays.ray_offsets[r + 1] - rays.ray_offsets[borders.back()] > kChunkSamples)
      borders.push_back(r);
  return borders;
}

template <int F> void scatter(const NgpLoss& p, const std::vector<int64_t>& first, const std::vector<int64_t>& count, const float* x,
                              const float* grad_features, int64_t row, int threads) {
  const int levels = p.field.levels.count;
  parallel_for(levels, 1, threads, [&](int64_t task, int64_t) {
    const int level = levels - 1 - int(task);  // the large levels first: better balance
    const GridLevel<float, 3, F> grid(p.field.levels, level);
    for (size_t c = 0; c < count.size(); ++c)
      grid.scatter(grad_features + level * F, row, x, first[c], first[c] + count[c], p.grad_table, p.touched);
  });
}

}  // namespace

void ngp_loss_cpu(const NgpLoss& p, int threads) {
  const NgpNetworks nets(p.field);
  const std::vector<int64_t> borders = chunk_rays(p.rays);
  const int64_t chunks = int64_t(borders.size()) - 1, groups = min_of(chunks, kMaxGroups), samples = p.rays.ray_offsets[p.rays.num_rays];
  Buffer<float> x(3 * samples), grad_features(samples * nets.feature_row), partial;
  partial.fill(0.0f, groups * nets.partial_size());
  std::vector<int64_t> first(chunks), kept(chunks);
  std::vector<double> error(chunks);

  parallel_for(groups, 1, threads, [&](int64_t group, int64_t) {
    static thread_local Chunk chunk;
    for (int64_t c = group * chunks / groups; c < (group + 1) * chunks / groups; ++c) {
      chunk.begin(p.field, p.rays, nets, borders[c], borders[c + 1]);
      chunk.density();
      chunk.transmit(p.weight);
      chunk.color();
      error[c] = chunk.compare(p.background, p.truth, p.weight);
      chunk.backward(&partial[group * nets.partial_size()], grad_features.data());
      first[c] = p.rays.ray_offsets[borders[c]];
      kept[c] = chunk.positions(x.data());
    }
  });

  *p.loss = 0.0;
  for (double e : error) *p.loss += e / double(3 * p.rays.num_rays);
  const float* partial_code = partial.data() + nets.density.partial_size() + nets.color.partial_size();
  nets.density.sum_partials(partial.data(), groups, nets.partial_size(), p.grad_density);
  nets.color.sum_partials(partial.data() + nets.density.partial_size(), groups, nets.partial_size(), p.grad_color);
  float* grad_code = p.grad_color[0] + int64_t(nets.color.widths[0]) * nets.color.widths[1];
  for (int i = 0; i < nets.code_size; ++i)
    for (int j = 0; j < nets.color.widths[1]; ++j) {
      float sum = 0.0f;
      for (int64_t g = 0; g < groups; ++g) sum += partial_code[g * nets.partial_size() + i * nets.code_row + j];
      grad_code[i * nets.color.widths[1] + j] = sum;
    }
  NC_GRID_FEATURES(p.field.features, scatter<F>(p, first, kept, x.data(), grad_features.data(), nets.feature_row, threads));
}

}  // namespace nerfcore
