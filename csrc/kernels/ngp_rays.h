// A chunk of rays on their way through a field: each round, the rays that are still alive march a few samples on. Little is
// computed behind what a ray cannot pass. CPU only.
#pragma once
#include "kernels/march_lanes.h"

#include "kernels/ngp_networks.h"
#include "math/intersect.h"

#include <limits>

namespace nerfcore {

// Samples of each ray between two looks at whether it has ended: few at first, where a surface may be near; more in fog.
constexpr int64_t kRoundSamples[] = {8, 8, 16, 16, 32};

class NgpRayChunk {
 public:
  // Rays first ... first + n; afterwards `alive` lists those that meet the box, by their number within the chunk.
  void start(const NgpRays& of, int64_t first, int64_t n) {
    p = &of;
    const float low[3] = {0, 0, 0}, high[3] = {1, 1, 1};
    rays.resize(n), transmittance.assign(n, 1.0f), alive.clear();
    round = 0, taken = 0;
    for (int64_t r = 0; r < n; ++r) {
      const float *origin = p->origin + 3 * (first + r), *direction = p->direction + 3 * (first + r);
      float t_in, t_out;
      intersect_box(origin, direction, low, high, p->near, std::numeric_limits<float>::infinity(), &t_in, &t_out);
      rays[r] = march_begin(p->grid, origin, direction, t_in, t_out, p->jitter ? p->jitter[first + r] : 0.0f);
      if (rays[r].t < rays[r].far) alive.push_back(r);
    }
  }

  // The next few samples of every ray that is alive: `marched` in the order of `alive`, their positions and steps.
  void march() {
    marching.clear();
    for (int64_t r : alive) marching.push_back(&rays[r]);
    constexpr int64_t kRounds = sizeof kRoundSamples / sizeof kRoundSamples[0];
    const int64_t wanted = min_of(kRoundSamples[min_of(round++, kRounds - 1)], p->max_samples - taken);
    MarchLanes<float>(p->grid, wanted, marching, &marched).run();
    taken += wanted;  // by each ray that is alive: one that found fewer has come to its end
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

  // Calls keep(ray, i, weight, transmittance behind i) for the samples of this round that light reaches, ray by ray in the
  // order of their samples, given the densities of all. Rays that have ended leave.
  template <class Keep> void transmit(const float* sigma, const Keep& keep) {
    absorbed.make_room(padded_to(samples, kLanes<float>)), passed.make_room(padded_to(samples, kLanes<float>));
    for (int64_t i = 0; i < samples; i += kLanes<float>) {
      Floats exp, expm1;
      exponential(-load(sigma + i) * load(&step[i]), &exp, &expm1);
      store(&passed[i], exp), store(&absorbed[i], -expm1);
    }
    std::vector<int64_t> staying;
    for (int64_t a : marched.order) {
      const int64_t r = alive[a], end = marched.begin[a] + marched.count[a];
      for (int64_t i = marched.begin[a]; i < end && transmittance[r] >= p->stop_below; ++i) {
        const float weight = transmittance[r] * absorbed[i];
        transmittance[r] *= passed[i];
        keep(r, i, weight, transmittance[r]);
      }
      if (transmittance[r] >= p->stop_below && rays[r].t < rays[r].far && taken < p->max_samples) staying.push_back(r);
    }
    alive.swap(staying);
  }

  float middle(int64_t i) const { return 0.5f * (marched.t_start[i] + marched.t_end[i]); }

  std::vector<int64_t> alive;
  MarchedSamples<float> marched;
  Buffer<float> x, step;
  int64_t samples = 0;  // of this round

 private:
  const NgpRays* p = nullptr;
  std::vector<MarchRay<float>> rays;
  std::vector<float> transmittance;  // of each ray, behind the samples so far
  std::vector<MarchRay<float>*> marching;
  int64_t round = 0, taken = 0;
  Buffer<float> absorbed, passed;
};

}  // namespace nerfcore
