// As many rays as a SIMD vector has lanes march side by side; a lane whose ray has ended takes the next one. One ray alone waits for
// each of its own additions, look-ups and wrongly guessed branches.
// Shared by the march operation and by the fused operations that march. CPU only.
#pragma once
#include "core/simd.h"  // first: what it declares for vectors must be known where math/march.h uses it

#include "math/march.h"

#include <vector>

namespace nerfcore {

template <class T> struct MarchedSamples {
  std::vector<T> t_start, t_end;      // ray after ray, in the order in which they were done
  std::vector<int64_t> order;         // this order, of the rays that had not ended before
  std::vector<int64_t> begin, count;  // where the samples of each ray begin, and how many there are
};

// Takes up to max_samples samples of each ray on, and leaves the rays where the next samples would be looked for.
template <class T> class MarchLanes {
 public:
  MarchLanes(const MarchGrid<T>& grid, int64_t max_samples, const std::vector<MarchRay<T>*>& rays, MarchedSamples<T>* out)
      : grid(grid), max_samples(T(max_samples)), rays(rays), out(out) {
    out->t_start.clear(), out->t_end.clear(), out->order.clear();
    out->begin.assign(rays.size(), 0), out->count.assign(rays.size(), 0);
    for (int i = 0; i < kLanes<T>; ++i) take_next(i);
  }

  void run() {
    while (any(busy)) {
      const Mask<Simd<T>> hits = march_visit(grid, &lanes, busy);
      if (any(hits)) {
        keep(lane_bits(hits), lanes.t, march_interval_end(lanes));
        march_advance(grid, &lanes, hits);
      }
      for (uint32_t ended = lane_bits(busy & ((lanes.t >= lanes.far) | (taken >= max_samples))); ended; ended &= ended - 1) {
        const int lane = __builtin_ctz(ended);
        finish(lane);
        take_next(lane);
      }
    }
  }

 private:
  struct Interval {
    T t_start, t_end;
  };

  void keep(uint32_t hits, Simd<T> t_start, Simd<T> t_end) {
    T starts[kLanes<T>], ends[kLanes<T>];
    store(starts, t_start), store(ends, t_end);
    for (; hits; hits &= hits - 1) {
      const int lane = __builtin_ctz(hits);
      samples[lane].push_back({starts[lane], ends[lane]});
      taken[lane] += T(1);
    }
  }

  void finish(int lane) {
    out->order.push_back(ray_of[lane]);
    out->begin[ray_of[lane]] = int64_t(out->t_start.size());
    out->count[ray_of[lane]] = int64_t(samples[lane].size());
    for (const Interval& interval : samples[lane]) {
      out->t_start.push_back(interval.t_start);
      out->t_end.push_back(interval.t_end);
    }
    MarchRay<T>* ray = rays[ray_of[lane]];
    ray->t = lanes.t[lane], ray->step = lanes.step[lane], ray->next = lanes.next[lane];
    ray->inverse_step = lanes.inverse_step[lane], ray->base = lanes.base[lane], ray->index = lanes.index[lane];
  }

  // Gives the lane a ray that has something to march through, or leaves it idle.
  void take_next(int lane) {
    samples[lane].clear();
    taken[lane] = T(0);
    busy[lane] = 0;
    while (next_ray < int64_t(rays.size())) {
      const int64_t r = next_ray++;
      if (!(rays[r]->t < rays[r]->far)) continue;
      load_ray(lane, *rays[r]);
      ray_of[lane] = r;
      busy[lane] = -1;
      return;
    }
  }

  void load_ray(int lane, const MarchRay<T>& ray) {
    for (int d = 0; d < 3; ++d) {
      lanes.origin[d][lane] = ray.origin[d], lanes.direction[d][lane] = ray.direction[d];
      lanes.inverse[d][lane] = ray.inverse[d], lanes.bias[d][lane] = ray.bias[d];
    }
    lanes.far[lane] = ray.far, lanes.t[lane] = ray.t, lanes.step[lane] = ray.step, lanes.next[lane] = ray.next;
    lanes.inverse_step[lane] = ray.inverse_step, lanes.base[lane] = ray.base, lanes.index[lane] = ray.index;
  }

  const MarchGrid<T>& grid;
  const T max_samples;
  const std::vector<MarchRay<T>*>& rays;
  MarchedSamples<T>* out;
  int64_t next_ray = 0;
  MarchRay<Simd<T>> lanes{};  // zeros: an idle lane, too, needs numbers to work on
  Mask<Simd<T>> busy{};
  Simd<T> taken{};  // samples of the ray in each lane
  int64_t ray_of[kLanes<T>];
  std::vector<Interval> samples[kLanes<T>];
};

}  // namespace nerfcore
