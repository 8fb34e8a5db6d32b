// A SIMD vector holds consecutive samples of one ray (core/neighbors.h).
#include "kernels/composite.h"

#include "core/buffer.h"
#include "core/parallel.h"

#include <initializer_list>

namespace nerfcore {
namespace {

constexpr int64_t kRaysPerChunk = 64;  // rays hold tens of samples each
constexpr int64_t kRaysAhead = 4;

template <class T> struct Stream {
  const T* values;
  int64_t per_sample;
};
template <class T> using Streams = std::initializer_list<Stream<T>>;

// Must be inlined: the compiler drops calls of a function that only prefetches, as having no effect.
template <int WRITE, class T> inline __attribute__((always_inline)) void prefetch(const Streams<T>& streams, int64_t begin, int64_t end) {
  for (const Stream<T>& stream : streams)
    for (int64_t i = begin * stream.per_sample; i < end * stream.per_sample; i += kCacheLine / int64_t(sizeof(T)))
      __builtin_prefetch(stream.values + i, WRITE);
}

// Rays take many arrays in short pieces, and backwards too, which no machine foresees: the next few rays are asked for.
template <class T, class Params>
void follow_rays(const Params& params, int64_t num_rays, int threads, const Streams<T>& reads, const Streams<T>& writes) {
  parallel_for(num_rays, kRaysPerChunk, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (r % kRaysAhead == 0) {
        const int64_t next = min_of(r + kRaysAhead, num_rays), first = params.ray_offsets[next];
        const int64_t last = params.ray_offsets[min_of(next + kRaysAhead, num_rays)];
        prefetch<0>(reads, first, last);
        prefetch<1>(writes, first, last);
      }
      params.template ray<Simd<T>>(r);
    }
  });
}

}  // namespace

template <class T> void composite_forward_cpu(const CompositeForward<T>& p, int64_t num_rays, int threads) {
  follow_rays<T>(p, num_rays, threads, {{p.sigma, 1}, {p.rgb, 3}, {p.t_start, 1}, {p.t_end, 1}}, {{p.weight, 1}, {p.after, 1}});
}

template <class T> void composite_backward_cpu(const CompositeBackward<T>& p, int64_t num_rays, int threads) {
  follow_rays<T>(p, num_rays, threads, {{p.rgb, 3}, {p.t_start, 1}, {p.t_end, 1}, {p.weight, 1}, {p.after, 1}},
                 {{p.grad_sigma, 1}, {p.grad_rgb, 3}});
}

template void composite_forward_cpu(const CompositeForward<float>&, int64_t, int);
template void composite_forward_cpu(const CompositeForward<double>&, int64_t, int);
template void composite_backward_cpu(const CompositeBackward<float>&, int64_t, int);
template void composite_backward_cpu(const CompositeBackward<double>&, int64_t, int);

}  // namespace nerfcore
