// As many rays as a SIMD vector has lanes march side by side; a lane whose ray has ended takes the next one. One ray alone waits for
// each of its own additions, look-ups and wrongly guessed branches.
#include "core/simd.h"  // first: what it declares for vectors must be known where math/march.h uses it

#include "kernels/march.h"

#include "core/parallel.h"

namespace nerfcore {
namespace {

constexpr int64_t kRaysPerChunk = 128;
constexpr int64_t kBytesPerChunk = 8192, kWord = 8;

// The rays [next_ray, end) of a chunk on their way through the lanes.
template <class T> class Marcher {
 public:
  Marcher(const MarchRays<T>& rays, int64_t max_samples, int64_t begin, int64_t end, int64_t* count, MarchedChunk<T>* chunk)
      : rays(rays), max_samples(max_samples), begin(begin), next_ray(begin), end(end), count(count), chunk(chunk) {
    chunk->begin.resize(end - begin);
    const T nowhere[3] = {};
    for (int i = 0; i < kLanes<T>; ++i) load_ray(i, march_begin(rays.grid, nowhere, nowhere, T(0), T(0), T(0)));  // an ended ray, for idle lanes
    for (int i = 0; i < kLanes<T>; ++i) take_next(i);
  }

  void run() {
    while (any(busy)) {
      const Mask<Simd<T>> hits = march_visit(rays.grid, &lanes, busy);
      if (any(hits)) {
        emit(lane_bits(hits), lanes.t, march_interval_end(lanes));
        march_advance(rays.grid, &lanes, hits);
      }
      for (uint32_t ended = lane_bits(busy & ((lanes.t >= lanes.far) | (taken >= T(max_samples)))); ended; ended &= ended - 1) {
        const int lane = __builtin_ctz(ended);
        finish(lane);
        take_next(lane);
      }
    }
  }

 private:
  void emit(uint32_t hits, Simd<T> t_start, Simd<T> t_end) {
    T starts[kLanes<T>], ends[kLanes<T>];
    store(starts, t_start), store(ends, t_end);
    for (; hits; hits &= hits - 1) {
      const int lane = __builtin_ctz(hits);
      samples[lane].push_back({starts[lane], ends[lane]});
      taken[lane] += T(1);
    }
  }

  void finish(int lane) {
    const int64_t r = ray_of[lane];
    count[r] = int64_t(samples[lane].size());
    chunk->begin[r - begin] = int64_t(chunk->t_start.size());
    for (const Interval& interval : samples[lane]) {
      chunk->t_start.push_back(interval.t_start);
      chunk->t_end.push_back(interval.t_end);
    }
  }

  // Gives the lane a ray that has something to march through, or leaves it idle.
  void take_next(int lane) {
    samples[lane].clear();
    taken[lane] = T(0);
    busy[lane] = 0;
    while (next_ray < end) {
      const int64_t r = next_ray++;
      const MarchRay<T> ray = rays.begin(r);
      count[r] = 0;
      if (!(ray.t < ray.far)) continue;
      load_ray(lane, ray);
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

  struct Interval {
    T t_start, t_end;
  };

  const MarchRays<T>& rays;
  const int64_t max_samples, begin;
  int64_t next_ray;
  const int64_t end;
  int64_t* count;
  MarchedChunk<T>* chunk;
  MarchRay<Simd<T>> lanes;
  Mask<Simd<T>> busy{};
  Simd<T> taken{};  // samples of the ray in each lane
  int64_t ray_of[kLanes<T>];
  std::vector<Interval> samples[kLanes<T>];
};

}  // namespace

void march_blocks_cpu(const MarchBlocks& params, int64_t num_bytes, int threads) {
  parallel_for(num_bytes, kBytesPerChunk, threads, [&](int64_t begin, int64_t end) {
    for (int64_t word = begin; word < end; word += kWord) {  // most of the box is empty: eight bytes at a glance
      uint64_t bits = 0;
      std::memcpy(&bits, params.bits + word, size_t(min_of(kWord, end - word)));
      for (int64_t byte = word; bits; ++byte, bits >>= 8)
        if (bits & 255) params(byte);
    }
  });
}

template <class T>
std::vector<MarchedChunk<T>> march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t* count, int threads) {
  std::vector<MarchedChunk<T>> chunks((num_rays + kRaysPerChunk - 1) / kRaysPerChunk);
  parallel_for(num_rays, kRaysPerChunk, threads, [&](int64_t begin, int64_t end) {
    Marcher<T>(rays, max_samples, begin, end, count, &chunks[begin / kRaysPerChunk]).run();
  });
  return chunks;
}

template <class T>
void march_pack_cpu(const std::vector<MarchedChunk<T>>& chunks, const int64_t* ray_offsets, T* t_start, T* t_end, int threads) {
  parallel_for(int64_t(chunks.size()), 1, threads, [&](int64_t c, int64_t) {
    for (size_t i = 0; i < chunks[c].begin.size(); ++i) {
      const int64_t r = c * kRaysPerChunk + int64_t(i), n = ray_offsets[r + 1] - ray_offsets[r], from = chunks[c].begin[i];
      std::memcpy(t_start + ray_offsets[r], chunks[c].t_start.data() + from, size_t(n) * sizeof(T));
      std::memcpy(t_end + ray_offsets[r], chunks[c].t_end.data() + from, size_t(n) * sizeof(T));
    }
  });
}

template std::vector<MarchedChunk<float>> march_cpu(const MarchRays<float>&, int64_t, int64_t, int64_t*, int);
template std::vector<MarchedChunk<double>> march_cpu(const MarchRays<double>&, int64_t, int64_t, int64_t*, int);
template void march_pack_cpu(const std::vector<MarchedChunk<float>>&, const int64_t*, float*, float*, int);
template void march_pack_cpu(const std::vector<MarchedChunk<double>>&, const int64_t*, double*, double*, int);

}  // namespace nerfcore
