// The algorithms of the GPU, run on the host by emulated warps (csrc/core/warp.h), for tests/test_warp.py.
#include "kernels/composite_warp.h"
#include "kernels/march.h"
#include "kernels/marching_cubes_warp.h"

#include <vector>

using namespace nerfcore;

namespace {

template <class Item> void for_each(const Item& item, int64_t n) {
  for (int64_t i = 0; i < n; ++i) item(i);
}

template <class Params> void composite_rays(const Params& params, int64_t num_rays, int64_t lanes) {
  const CompositeItems<Params, float, 8> narrow{params, num_rays};
  const CompositeItems<Params, float, 32> wide{params, num_rays};
  if (lanes == 8) for_each(narrow, narrow.count());
  else for_each(wide, wide.count());
}

// As march_forward of bindings/march.h does it on a GPU.
template <class V> void march_twice(const MarchRays<float>& rays, int64_t num_rays, int64_t max_samples, int64_t capacity,
                                    int64_t* end, int64_t* ray_offsets, float* t_start, float* t_end) {
  const MarchCount<float> count{rays, max_samples, end};
  for (int64_t r = 0; r < num_rays; ++r) count.ray<V>(r);
  for (int64_t r = 1; r < num_rays; ++r) end[r] += end[r - 1];
  const MarchWrite<float> write{rays, end, num_rays, capacity, ray_offsets, t_start, t_end};
  for (int64_t r = num_rays - 1; r >= 0; --r) write.ray<V>(r);  // in no order that anything could lean on
}

}  // namespace

extern "C" {

void composite_forward(int64_t lanes, int64_t num_rays, int64_t num_samples, const int64_t* ray_offsets, const float* sigma, const float* rgb,
                       const float* t_start, const float* t_end, double stop_below, float* rgb_out, float* opacity, float* distance,
                       float* weight, float* after) {
  composite_rays(CompositeForward<float>{ray_offsets, sigma, rgb, t_start, t_end, float(stop_below), rgb_out, opacity, distance, weight, after,
                                         num_samples}, num_rays, lanes);
}

void composite_backward(int64_t lanes, int64_t num_rays, int64_t num_samples, const int64_t* ray_offsets, const float* rgb, const float* t_start,
                        const float* t_end, const float* weight, const float* after, const float* grad_rgb_out, const float* grad_opacity,
                        const float* grad_distance, const float* grad_weight, float* grad_sigma, float* grad_rgb) {
  composite_rays(CompositeBackward<float>{ray_offsets, rgb, t_start, t_end, weight, after, grad_rgb_out, grad_opacity, grad_distance, grad_weight,
                                          grad_sigma, grad_rgb, num_samples}, num_rays, lanes);
}

void march(int64_t lanes, int64_t num_rays, const float* origin, const float* direction, const float* near, const float* far, const float* jitter,
           const uint8_t* bits, int64_t resolution, int64_t cascades, double step_min, double step_max, double cone_angle, int64_t max_samples,
           int64_t capacity, int64_t* end, int64_t* ray_offsets, float* t_start, float* t_end) {
  const int64_t cells = cascades * resolution * resolution * resolution, side = resolution / kMarchBlock;
  std::vector<uint32_t> blocks(size_t(cells / 2048 + 1)), larger(size_t(cells / (64 * 2048) + 1));
  MarchGrid<float> grid{reinterpret_cast<const uint32_t*>(bits), {}, int(resolution), int(cascades), float(step_min), float(step_max),
                        float(cone_angle)};
  if (march_has_blocks(int(resolution), 0)) {
    for_each(MarchBlocks{bits, int(resolution), blocks.data()}, cells / 128);
    grid.blocks[0] = blocks.data();
  }
  if (march_has_blocks(int(resolution), 1)) {
    for_each(MarchBlocksOfBlocks{blocks.data(), int(side), larger.data()}, cells / 4096);
    grid.blocks[1] = larger.data();
  }
  const MarchRays<float> rays{grid, origin, direction, near, far, jitter};
  if (lanes == 1) march_twice<float>(rays, num_rays, max_samples, capacity, end, ray_offsets, t_start, t_end);
  else march_twice<Warp<float, 8>>(rays, num_rays, max_samples, capacity, end, ray_offsets, t_start, t_end);
}

void scan_rows(int64_t nx, int64_t ny, int64_t nz, const float* volume, double iso, const CellCase* table, uint64_t* inside, bool* finite,
               int64_t* num_crossed, int64_t* num_triangles) {
  const ScanRows<float> scan{{nx, ny, nz, inside}, volume, float(iso), table, finite, num_crossed, num_triangles, nullptr};
  for_each(ClassifyRow<float>{scan}, nx * ny);
  for_each(CountRow<float>{scan}, nx * ny);
}

void emit_rows(int64_t nx, int64_t ny, int64_t nz, const float* volume, double iso, const CellCase* table, uint64_t* inside,
               const int64_t* vertex_offset, const int64_t* face_offset, float* vertices, int64_t* faces) {
  const ScanRows<float> scan{{nx, ny, nz, inside}, volume, float(iso), table, nullptr, nullptr, nullptr, nullptr};
  for_each(EmitRow<float>{{scan, vertex_offset, face_offset, vertices, faces}}, nx * ny);
}
}
