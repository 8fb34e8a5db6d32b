// In float32 the one pass of math/pdf.h is cut into short loops without branches: whether the next thing along a ray is a sample or a
// border is a coin toss that the machine loses half the time. In float64 the ray goes as on a GPU.
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
  PdfLoops(int64_t num_bins, int64_t num_samples) : share(num_bins), edge(num_bins), first(num_samples + 1) {}

  void sample(const PdfRay<float>& ray, float* out) {
    const float total = weigh(ray);
    if (!pdf_is_proper(total)) return std::fill(out, out + ray.num_samples, ray.fallback(total));
    for (int64_t i = 0; i < ray.num_bins; ++i) share[i] = ray.share(share[i], total);
    if (!ray.jitter || ray.one_jitter) lay(ray, [j = ray.jitter_of(0)](int64_t) { return j; }, out);
    else lay(ray, [j = ray.jitter](int64_t k) { return j[k]; }, out);
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

  template <class Jitter> void lay(const PdfRay<float>& ray, const Jitter& jitter, float* out) {
    const int num_bins = int(ray.num_bins), num_samples = int(ray.num_samples);
    std::fill(&first[0], &first[0] + num_samples + 1, 0);
    int last = 0;  // bin that is not empty
    double sum = 0;  // as in pdf_sample_ray
    for (int i = 0; i < num_bins; ++i) {
      edge[i] = float(sum);
      const float upper = float(sum += share[i]);
      last = share[i] > 0.0f ? i : last;
      const int k = clamp(int(upper), 0, num_samples - 1);  // whatever a wrong border has made of it
      first[k + (float(k) + jitter(k) < upper)] = i + 1;    // later bins overwrite earlier ones, which hold no sample
    }
    for (int k = 0, bin = 0; k < num_samples; ++k) {
      bin = max_of(bin, first[k]);
      const int i = min_of(bin, last);
      out[k] = pdf_position(ray.borders[i], ray.borders[i + 1], (float(k) + jitter(k) - edge[i]) / share[i]);
    }
  }

  Buffer<float> share, edge;  // [B] of each bin, in samples: how many, and how many before it
  Buffer<int> first;          // [N + 1] the bin that begins at a sample, or 0
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
