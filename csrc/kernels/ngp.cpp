// The whole step for a chunk of rays at a time: about a thousand samples, so that features, activations and their gradients stay in
// the second-level cache. Only positions and feature gradients leave it; they are scattered to the table at the end, level by level.
// Chunks do not depend on the threads, and sums run over them in order: the same bits for any number of threads.
#include "kernels/ngp_rays.h"

#include "core/parallel.h"
#include "math/composite.h"

namespace nerfcore {
namespace {

constexpr int64_t kMaxGroups = 32;  // of chunks; each sums its own weight gradients

// What a chunk leaves behind. Its samples lie in runs, each a part of a ray, nearer parts of a ray first.
struct ChunkResult {
  struct Run {
    int64_t ray, begin, count;
  };
  std::vector<Run> runs;
  std::vector<float> t_start, t_end, weight;
  Buffer<float> x, grad_features;  // [rows, 3]; [L, rows, F]: a level is scattered by itself
  double error = 0.0;
};

class LossChunk {
 public:
  void step(const NgpLoss& params, const NgpNetworks& networks, int64_t begin, int64_t end, float* partial, ChunkResult* out) {
    p = &params, nets = &networks, result = out, first = begin, num_rays = end - begin, rows = 0;
    trace();
    color();
    compare();
    backward(partial);
  }

 private:
  // Rays march until their light is spent; what remains are the samples that it reached.
  void trace() {
    front.start(p->rays, first, num_rays);
    while (!front.alive.empty()) {
      front.march();
      density();
      transmit();
    }
  }

  // Hash grid and density network of this round, behind the rows that are there.
  void density() {
    const int64_t end = rows + front.samples;
    features.grow(end * nets->feature_row, rows * nets->feature_row), embedding.grow(end * nets->embedding_row, rows * nets->embedding_row);
    density_hidden.grow(nets->density, end, rows);
    round_sigma.make_room(padded_to(front.samples, kLanes<float>));
    ngp_density(p->field, *nets, front.x.data(), front.samples, &features[rows * nets->feature_row],
                [&](int64_t b) { return density_hidden.at(nets->density, rows + b); }, &embedding[rows * nets->embedding_row], round_sigma.data());
  }

  // Keeps the samples of this round that light reaches: their rows move together.
  void transmit() {
    const int64_t end = rows + front.samples, before = rows;
    result->x.grow(3 * end, 3 * rows), sigma.grow(end, rows), after.grow(end, rows), row_ray.grow(end, rows);
    int64_t run_ray = -1, run_from = 0;  // samples of a ray are neighbours before and after: a run moves as one
    const auto move_run = [&] {
      if (run_ray < 0) return;
      const ChunkResult::Run& run = result->runs.back();
      move_rows(before + run_from, run.begin, run.count);
    };
    front.transmit(round_sigma.data(), [&](int64_t r, int64_t i, float weight, float behind_it) {
      if (r != run_ray) {
        move_run();
        result->runs.push_back({r, rows, 0});
        run_ray = r, run_from = i;
      }
      for (int d = 0; d < 3; ++d) result->x[3 * rows + d] = front.x[3 * i + d];
      sigma[rows] = round_sigma[i], after[rows] = behind_it, row_ray[rows] = r;
      result->t_start.push_back(front.marched.t_start[i]), result->t_end.push_back(front.marched.t_end[i]);
      result->weight.push_back(weight);
      ++result->runs.back().count, ++rows;
    });
    move_run();
  }

  // Colour network of the samples that are left.
  void color() {
    code.make_room(num_rays * nets->code_size), ray_part.make_room(num_rays * nets->code_row);
    rgb.make_room(3 * rows), color_hidden.grow(nets->color, rows, 0);
    nets->direction_part(p->rays.direction + 3 * first, num_rays, p->field.sh_degree, code.data(), ray_part.data());
    float* first_layer = color_hidden.at(nets->color, 0)[0];
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(first_layer + i * nets->code_row, &ray_part[row_ray[i] * nets->code_row], nets->code_row * sizeof(float));
    for (int64_t b = 0; b < rows; b += kTileRows)
      nets->color_tile(tile_rows(b), &embedding[b * nets->embedding_row], color_hidden.at(nets->color, b).data(), &rgb[3 * b]);
  }

  // The squared error of the rays, and its gradient at each sample's density and colour.
  void compare() {
    const float scale = 2.0f / float(3 * p->rays.num_rays);
    const float* weight = result->weight.data();
    grad_sigma.make_room(rows), grad_rgb.make_room(3 * rows);
    pixel.fill(0.0f, 4 * num_rays), behind.fill(0.0f, num_rays);  // pixel: colour and opacity, then their gradients
    for (const auto& run : result->runs)
      for (int64_t i = run.begin; i < run.begin + run.count; ++i) {
        for (int c = 0; c < 3; ++c) pixel[4 * run.ray + c] += weight[i] * rgb[3 * i + c];
        pixel[4 * run.ray + 3] += weight[i];
      }
    for (int64_t r = 0; r < num_rays; ++r) {
      float grad_opacity = 0.0f;
      for (int c = 0; c < 3; ++c) {
        const int64_t i = 3 * (first + r) + c;
        const float difference = pixel[4 * r + c] + (1.0f - pixel[4 * r + 3]) * p->background[i] - p->truth[i];
        result->error += double(difference) * difference;
        pixel[4 * r + c] = scale * difference;
        grad_opacity -= scale * difference * p->background[i];
        p->grad_background[i] = scale * difference * (1.0f - pixel[4 * r + 3]), p->grad_truth[i] = -scale * difference;
      }
      pixel[4 * r + 3] = grad_opacity;
    }
    for (auto run = result->runs.rbegin(); run != result->runs.rend(); ++run) {
      const int64_t b = run->begin;
      const float* grad = &pixel[4 * run->ray];
      behind[run->ray] = composite_ray_backward<float>(run->count, &rgb[3 * b], &result->t_start[b], &result->t_end[b], weight + b, &after[b], grad,
                                                       grad[3], 0.0f, nullptr, behind[run->ray], &grad_sigma[b], &grad_rgb[3 * b]);
    }
    fade();
  }

  // Gradients of what is near a camera count less: Philip and Deschaintre 2023.
  void fade() {
    for (int64_t i = 0; i < rows; ++i) {
      const float t = 0.5f * (result->t_start[i] + result->t_end[i]);
      if (t >= p->full_from) continue;
      const float share = t / p->full_from * (t / p->full_from);
      grad_sigma[i] *= share;
      for (int c = 0; c < 3; ++c) grad_rgb[3 * i + c] *= share;
    }
  }

  // Adjoint of the networks down to the features; adds to the partial weight gradients.
  void backward(float* partial) {
    const int64_t width = nets->embedding_row;
    const int columns = padded<float>(3);
    float *partial_color = partial + nets->density.partial_size(), *partial_code = partial_color + nets->color.partial_size();
    color_scratch.make_room(nets->color.scratch_size()), density_scratch.make_room(nets->density.scratch_size());
    result->grad_features.make_room(rows * nets->features), grad_tile.make_room(kTileRows * nets->feature_row);
    ray_part.fill(0.0f, num_rays * nets->code_row);
    for (int64_t b = 0; b < rows; b += kTileRows) {
      const int tile = tile_rows(b);
      color_scratch.fill(0.0f, tile * columns);
      for (int i = 0; i < tile; ++i)
        for (int c = 0; c < 3; ++c) {
          const float y = rgb[3 * (b + i) + c];
          color_scratch[i * columns + c] = grad_rgb[3 * (b + i) + c] * y * (1.0f - y);
        }
      const float* e = &embedding[b * width];
      float* grad_embedding = density_scratch.data();
      const float* grad_first = nets->color.backward(tile, e, width, color_hidden.at(nets->color, b).data(), color_scratch.data(), partial_color, grad_embedding);
      for (int i = 0; i < tile; ++i) {
        float* of_ray = &ray_part[row_ray[b + i] * nets->code_row];
        for (int j = 0; j < nets->code_row; ++j) of_ray[j] += grad_first[i * nets->code_row + j];
        if (e[i * width] <= p->field.max_log_density) grad_embedding[i * width] += grad_sigma[b + i] * sigma[b + i];
      }
      nets->density.backward(tile, &features[b * nets->feature_row], nets->feature_row, density_hidden.at(nets->density, b).data(), grad_embedding,
                             partial, grad_tile.data());
      NC_GRID_FEATURES(p->field.features, sort_by_level<F>(b, tile));
    }
    gemm<float>(nets->code_size, nets->code_row, int(num_rays), code.data(), 1, nets->code_size, ray_part.data(), nets->code_row, partial_code,
                nets->code_row, true);
  }

  template <int F> void sort_by_level(int64_t begin, int tile) {
    for (int l = 0; l < p->field.levels.count; ++l)
      for (int i = 0; i < tile; ++i)
        std::memcpy(&result->grad_features[(l * rows + begin + i) * F], &grad_tile[i * nets->feature_row + l * F], F * sizeof(float));
  }

  int tile_rows(int64_t begin) const { return int(min_of<int64_t>(kTileRows, rows - begin)); }

  void move_rows(int64_t from, int64_t to, int64_t n) {
    if (from == to) return;
    const auto move = [&](Buffer<float>& values, int64_t row) {
      std::memmove(&values[to * row], &values[from * row], size_t(n * row) * sizeof(float));
    };
    move(features, nets->feature_row), move(embedding, nets->embedding_row);
    density_hidden.move(nets->density, to, from, n);
  }

  const NgpLoss* p = nullptr;
  const NgpNetworks* nets = nullptr;
  ChunkResult* result = nullptr;
  int64_t first = 0, num_rays = 0, rows = 0;
  NgpRayChunk front;
  Buffer<int64_t> row_ray;
  Buffer<float> features, embedding, sigma, round_sigma, after;  // after: transmittance behind the sample
  Buffer<float> code, ray_part, rgb, pixel, behind, grad_sigma, grad_rgb, color_scratch, density_scratch, grad_tile;
  NgpHidden density_hidden, color_hidden;
};

template <int F> void scatter(const NgpLoss& p, const std::vector<ChunkResult>& chunks, int threads) {
  const int levels = p.field.levels.count;
  parallel_for(levels, 1, threads, [&](int64_t task, int64_t) {
    const int level = levels - 1 - int(task);  // the large levels first: better balance
    const GridLevel<float, 3, F> grid(p.field.levels, level);
    for (const ChunkResult& chunk : chunks) {
      const int64_t rows = int64_t(chunk.weight.size());
      grid.template scatter<true>(chunk.grad_features.data() + level * rows * F, F, chunk.x.data(), 0, rows, p.grad_table, p.touched);
    }
  });
}

// Lays the samples of all chunks end to end, ray by ray.
void pack_samples(const NgpLoss& p, const std::vector<ChunkResult>& chunks, int threads) {
  std::memset(p.ray_offsets, 0, size_t(p.rays.num_rays + 1) * sizeof(int64_t));
  for (size_t c = 0; c < chunks.size(); ++c)
    for (const auto& run : chunks[c].runs) p.ray_offsets[int64_t(c) * p.rays_per_chunk + run.ray + 1] += run.count;
  for (int64_t r = 0; r < p.rays.num_rays; ++r) p.ray_offsets[r + 1] += p.ray_offsets[r];
  const NgpSamples out = p.allocate(p.ray_offsets[p.rays.num_rays]);
  parallel_for(int64_t(chunks.size()), 1, threads, [&](int64_t c, int64_t) {
    const ChunkResult& chunk = chunks[c];
    std::vector<int64_t> at(p.ray_offsets + c * p.rays_per_chunk, p.ray_offsets + min_of((c + 1) * p.rays_per_chunk, p.rays.num_rays));
    for (const auto& run : chunk.runs) {
      int64_t& to = at[run.ray];
      std::memcpy(out.t_start + to, &chunk.t_start[run.begin], size_t(run.count) * sizeof(float));
      std::memcpy(out.t_end + to, &chunk.t_end[run.begin], size_t(run.count) * sizeof(float));
      std::memcpy(out.weight + to, &chunk.weight[run.begin], size_t(run.count) * sizeof(float));
      to += run.count;
    }
  });
}

// grad_weights of both networks: the partial gradients of the groups, summed in order.
void sum_partials(const NgpLoss& p, const NgpNetworks& nets, const float* partial, int64_t groups) {
  const float *partial_color = partial + nets.density.partial_size(), *partial_code = partial_color + nets.color.partial_size();
  nets.density.sum_partials(partial, groups, nets.partial_size(), p.grad_density);
  nets.color.sum_partials(partial_color, groups, nets.partial_size(), p.grad_color);
  const int out = nets.color.widths[1];
  float* grad_code = p.grad_color[0] + int64_t(nets.color.widths[0]) * out;
  for (int i = 0; i < nets.code_size; ++i)
    for (int j = 0; j < out; ++j) {
      grad_code[i * out + j] = 0.0f;
      for (int64_t g = 0; g < groups; ++g) grad_code[i * out + j] += partial_code[g * nets.partial_size() + i * nets.code_row + j];
    }
}

}  // namespace

void ngp_loss_cpu(const NgpLoss& p, int threads) {
  const NgpNetworks nets(p.field);
  const int64_t num_rays = p.rays.num_rays, chunks = (num_rays + p.rays_per_chunk - 1) / p.rays_per_chunk, groups = min_of(chunks, kMaxGroups);
  std::vector<ChunkResult> results(chunks);
  Buffer<float> partial;
  partial.fill(0.0f, groups * nets.partial_size());
  parallel_for(groups, 1, threads, [&](int64_t group, int64_t) {
    static thread_local LossChunk chunk;
    for (int64_t c = group * chunks / groups; c < (group + 1) * chunks / groups; ++c)
      chunk.step(p, nets, c * p.rays_per_chunk, min_of((c + 1) * p.rays_per_chunk, num_rays), &partial[group * nets.partial_size()], &results[c]);
  });
  *p.loss = 0.0;
  for (const ChunkResult& chunk : results) *p.loss += chunk.error / double(3 * num_rays);
  sum_partials(p, nets, partial.data(), groups);
  NC_GRID_FEATURES(p.field.features, scatter<F>(p, results, threads));
  pack_samples(p, results, threads);
}

}  // namespace nerfcore
