// In float32 the one pass of math/pdf.h is cut into short loops without branches: whether the next thing along a ray is a sample or a
// border is a coin toss that the machine loses half the time. In float64 a ray goes as on a GPU.
#include "core/neighbors.h"  // first: what it declares for vectors must be known where math/pdf.h uses it

#include "core/buffer.h"
#include "core/parallel.h"
#include "kernels/pdf.h"

#include <algorithm>

namespace nerfcore {
namespace {

constexpr int64_t kRaysPerChunk = 64;

class PdfLoops {
 public:
  PdfLoops(int64_t num_bins, int64_t num_samples) : share(num_bins), slope(num_bins), edge(num_bins + 1), first(num_bins + 1) {
    at.fill(0.0f, num_samples + kLanes<float>), position.make_room(num_samples + kLanes<float>);
  }

  void sample(const PdfRay<float>& ray, float* out) {
    const float total = weigh(ray);
    if (!pdf_is_proper(total)) return std::fill(out, out + ray.num_samples, ray.fallback(total));
    const int bins = divide(ray, total);
    // At least one vector for every bin: what it holds behind the bin's last sample is overwritten by the bins behind.
    for (int i = 0; i < bins; ++i) {
      const Floats lower = broadcast(ray.borders[i]), upper = broadcast(ray.borders[i + 1]);
      int k = first[i];
      do {
        store(&position[k], pdf_position(lower, upper, load(&at[k]) - edge[i], broadcast(slope[i])));
      } while ((k += kLanes<float>) < first[i + 1]);
    }
    std::memcpy(out, &position[0], size_t(first[bins]) * sizeof(float));
    std::fill(out + first[bins], out + ray.num_samples, ray.borders[bins]);  // what rounding has left over
  }

 private:
  // Fills `share` with the weights, and returns their sum: not a number if a weight is none.
  float weigh(const PdfRay<float>& ray) {
    using Lanes = Neighbors<Floats>;
    Floats total{};
    Mask<Floats> wrong{};
    for (int64_t i = 0; i < ray.num_bins; i += Lanes::kCount) {
      const int64_t n = ray.num_bins - i;
      const Floats given = Lanes::load(ray.weights + i, n);
      const Floats weight = select(Lanes::first(int(min_of<int64_t>(n, Lanes::kCount))), given + ray.floor, Floats{});
      wrong |= not_of(given >= Floats{});
      total += weight;
      Lanes::store(&share[i], weight, n);
    }
    if (any(wrong)) return std::numeric_limits<float>::quiet_NaN();
    const float sum = Lanes::sum(total);
    if (sum != 0.0f) return sum;
    for (int64_t i = 0; i < ray.num_bins; ++i) share[i] = ray.width(i);
    return ray.borders[ray.num_bins] - ray.borders[0];
  }

  // Finds where samples, bins and the samples of each bin begin. Returns the number of bins up to the last that is not empty.
  int divide(const PdfRay<float>& ray, float total) {
    const int num_bins = int(ray.num_bins), num_samples = int(ray.num_samples);
    for (int k = 0; k < num_samples; ++k) at[k] = ray.at(k);
    for (int i = 0; i < num_bins; ++i) {
      share[i] = max_of(ray.share(share[i], total), 0.0f);  // whatever a wrong border has made of it
      slope[i] = ray.width(i) / share[i];
    }
    double sum = 0;  // as in pdf_sample_ray
    for (int i = 0; i < num_bins; ++i) edge[i] = float(sum), sum += share[i];
    edge[num_bins] = float(sum);
    for (int i = 0; i <= num_bins; ++i) {
      const int k = int(min_of(edge[i], float(num_samples - 1)));
      first[i] = k + (at[k] < edge[i]);
    }
    int bins = num_bins;
    while (bins > 1 && share[bins - 1] == 0.0f) --bins;
    return bins;
  }

  Buffer<float> at, position;        // [N] of each sample, with room for a vector behind: k + jitter_k, and where it lies
  Buffer<float> share, slope, edge;  // [B], edge [B + 1]: samples in each bin, length for each of them, samples before the bin
  Buffer<int> first;                 // [B + 1] the first sample of each bin
};

}  // namespace

template <class T> void pdf_forward_cpu(const PdfForward<T>& params, int64_t num_rays, int threads) {
  parallel_for(num_rays, kRaysPerChunk, threads, [&](int64_t begin, int64_t end) {
    if constexpr (sizeof(T) == sizeof(float)) {
      PdfLoops loops(params.num_bins, params.num_samples);
      for (int64_t r = begin; r < end; ++r) loops.sample(params.ray(r), params.out + r * params.num_samples);
    } else {
      for (int64_t r = begin; r < end; ++r) params(r);
    }
  });
}

template void pdf_forward_cpu(const PdfForward<float>&, int64_t, int);
template void pdf_forward_cpu(const PdfForward<double>&, int64_t, int);

}  // namespace nerfcore
