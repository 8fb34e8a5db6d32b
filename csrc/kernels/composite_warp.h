// The lanes of a warp hold consecutive samples of one ray, as those of a SIMD vector do on the CPU.
#pragma once
#include "core/warp.h"
#include "kernels/composite.h"

namespace nerfcore {

constexpr int64_t kUnownedChunk = 1024;
constexpr int64_t kShortRay = 16;  // samples that a ray has on average: from here on a warp's 32 lanes, below 8

// Item i is ray i; the items behind the rays are chunks of all samples, of which those that belong to no ray are cleared.
template <class Params, class T, int LANES> struct CompositeItems {
  Params params;
  int64_t num_rays;

  NC_HD int64_t count() const { return num_rays + (params.num_samples + kUnownedChunk - 1) / kUnownedChunk; }

  NC_HD void operator()(int64_t i) const {
    if (i < num_rays) return params.template ray<Warp<T, LANES>>(i);
    const int64_t chunk = (i - num_rays) * kUnownedChunk, end = min_of(chunk + kUnownedChunk, params.num_samples);
    for_lanes<LANES>([&](int lane) {
      for (int64_t s = max_of(chunk, params.ray_offsets[num_rays]) + lane; s < end; s += LANES) params.clear(s);
    });
  }
};

}  // namespace nerfcore
