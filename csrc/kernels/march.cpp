// A CPU marches once, each chunk of rays into memory of its own, which is then laid end to end.
#include "kernels/march_lanes.h"

#include "core/parallel.h"
#include "kernels/march.h"

#include <algorithm>

namespace nerfcore {

constexpr int64_t kRaysPerChunk = 128;

namespace {

// Bit i of the result: whether hexadecimal digit i of a word is not 0.
uint64_t digits_that_are_not_zero(uint64_t word) {
  word = (word | word >> 1 | word >> 2 | word >> 3) & 0x1111111111111111;
  word = (word | word >> 3) & 0x0303030303030303;
  word = (word | word >> 6) & 0x000F000F000F000F;
  word = (word | word >> 12) & 0x000000FF000000FF;
  return (word | word >> 24) & 0xFFFF;
}

}  // namespace

// As the functor does, for up to sixteen blocks of a row at a time; a task owns the words that it writes.
void march_blocks_cpu(const MarchBlocks& params, int64_t num_pairs, int threads) {
  const int64_t row = params.resolution / 8, slice = row * params.resolution, rows = num_pairs / row;
  const int64_t b = params.resolution / kMarchBlock, rows_per_task = max_of<int64_t>(b, 32), bytes = min_of<int64_t>(row, 8);
  parallel_for(rows, rows_per_task, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* corner = params.bits + r / b * kMarchBlock * slice + r % b * kMarchBlock * row;
      for (int64_t x = 0; x < row; x += bytes) {
        uint64_t any = 0;
        for (int64_t z = 0; z < kMarchBlock; ++z)
          for (int64_t line = 0; line < kMarchBlock; ++line) {
            uint64_t word = 0;
            std::memcpy(&word, corner + z * slice + line * row + x, size_t(bytes));
            any |= word;
          }
        const int64_t pair = r * row + x;
        params.blocks[pair >> 4] |= uint32_t(digits_that_are_not_zero(any)) << (2 * (pair & 15));
      }
    }
  });
}

void march_blocks_of_blocks_cpu(const MarchBlocksOfBlocks& params, int64_t num_blocks, int threads) {
  for_each_cpu(params, num_blocks, threads);
}

template <class T>
int64_t march_cpu(const MarchRays<T>& rays, int64_t num_rays, int64_t max_samples, int64_t capacity, int64_t* ray_offsets,
                  const std::function<MarchOut<T>(int64_t)>& allocate, int threads) {
  std::vector<MarchedSamples<T>> chunks((num_rays + kRaysPerChunk - 1) / kRaysPerChunk);
  parallel_for(num_rays, kRaysPerChunk, threads, [&](int64_t begin, int64_t end) {
    std::vector<MarchRay<T>> states;
    std::vector<MarchRay<T>*> pointers;
    for (int64_t r = begin; r < end; ++r) states.push_back(rays.begin(r));
    for (MarchRay<T>& state : states) pointers.push_back(&state);
    MarchLanes<T>(rays.grid, max_samples, pointers, &chunks[begin / kRaysPerChunk]).run();
  });

  int64_t found = 0;
  ray_offsets[0] = 0;
  for (int64_t r = 0; r < num_rays; ++r) {
    found += chunks[r / kRaysPerChunk].count[r % kRaysPerChunk];
    ray_offsets[r + 1] = found <= capacity ? found : ray_offsets[r];  // from the first ray that does not fit on, none does
  }
  const MarchOut<T> out = allocate(ray_offsets[num_rays]);
  parallel_for(int64_t(chunks.size()), 1, threads, [&](int64_t c, int64_t) {
    for (size_t i = 0; i < chunks[c].begin.size(); ++i) {
      const int64_t r = c * kRaysPerChunk + int64_t(i), at = ray_offsets[r], n = ray_offsets[r + 1] - at, from = chunks[c].begin[i];
      std::memcpy(out.t_start + at, chunks[c].t_start.data() + from, size_t(n) * sizeof(T));
      std::memcpy(out.t_end + at, chunks[c].t_end.data() + from, size_t(n) * sizeof(T));
    }
  });
  return found;
}

template int64_t march_cpu(const MarchRays<float>&, int64_t, int64_t, int64_t, int64_t*, const std::function<MarchOut<float>(int64_t)>&, int);
template int64_t march_cpu(const MarchRays<double>&, int64_t, int64_t, int64_t, int64_t*, const std::function<MarchOut<double>(int64_t)>&, int);

}  // namespace nerfcore
