// A CPU marches once, each chunk of rays into memory of its own, which is then laid end to end.
#include "kernels/march_lanes.h"

#include "core/parallel.h"
#include "kernels/march.h"

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 128;
constexpr int64_t kBytesPerChunk = 8192, kWord = 8;

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
void march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t* ray_offsets,
               const std::function<MarchOut<T>(int64_t)>& allocate, int threads) {
  std::vector<MarchedSamples<T>> chunks((num_rays + kRaysPerChunk - 1) / kRaysPerChunk);
  parallel_for(num_rays, kRaysPerChunk, threads, [&](int64_t begin, int64_t end) {
    std::vector<MarchRay<T>> states;
    std::vector<MarchRay<T>*> pointers;
    for (int64_t r = begin; r < end; ++r) states.push_back(rays.begin(r));
    for (MarchRay<T>& state : states) pointers.push_back(&state);
    MarchLanes<T>(rays.grid, max_samples, pointers, &chunks[begin / kRaysPerChunk]).run();
  });

  ray_offsets[0] = 0;
  for (int64_t r = 0; r < num_rays; ++r) ray_offsets[r + 1] = ray_offsets[r] + chunks[r / kRaysPerChunk].count[r % kRaysPerChunk];
  const MarchOut<T> out = allocate(ray_offsets[num_rays]);
  parallel_for(int64_t(chunks.size()), 1, threads, [&](int64_t c, int64_t) {
    for (size_t i = 0; i < chunks[c].begin.size(); ++i) {
      const int64_t at = ray_offsets[c * kRaysPerChunk + int64_t(i)], from = chunks[c].begin[i], n = chunks[c].count[i];
      std::memcpy(out.t_start + at, chunks[c].t_start.data() + from, size_t(n) * sizeof(T));
      std::memcpy(out.t_end + at, chunks[c].t_end.data() + from, size_t(n) * sizeof(T));
    }
  });
}

template void march_cpu(const MarchRays<float>&, int64_t, int64_t, int64_t*, const std::function<MarchOut<float>(int64_t)>&, int);
template void march_cpu(const MarchRays<double>&, int64_t, int64_t, int64_t*, const std::function<MarchOut<double>(int64_t)>&, int);

}  // namespace nerfcore
