#pragma once
#include "kernels/hash_grid.h"
#include "math/march.h"

#include <functional>
#include <vector>

namespace nerfcore {

// Hash grid -> density network -> embedding, whose first value is the log density; embedding and spherical harmonics of the
// direction -> colour network -> sigmoid. Müller et al. 2022, section 5.4. Weights are [in, out] row-major.
struct NgpField {
  GridLevels levels;
  GridTable<float> table;
  int features;  // F in {1, 2, 4, 8}
  std::vector<int> density_widths, color_widths;
  std::vector<const float*> density_weights, color_weights;
  int sh_degree;          // 1 to 4
  float max_log_density;  // log densities above are cut
};

// Rays in box coordinates, and where they have samples.
struct NgpRays {
  MarchGrid<float> grid;
  int64_t num_rays;
  const float* origin;     // [R, 3]
  const float* direction;  // [R, 3] unit
  const float* jitter;     // [R] in [0, 1), or null for zeros
  float near;              // nearest sample
  float stop_below;        // transmittance at which a ray ends
  int64_t max_samples;     // of a ray
};

// The samples that light reached, packed.
struct NgpSamples {
  float *t_start, *t_end, *weight;  // [S]
};

// Mean squared error of the rendered rays over their background, and its gradients.
struct NgpLoss {
  NgpField field;
  NgpRays rays;
  int64_t rays_per_chunk;
  float full_from;          // distance from which on samples have their whole gradient; nearer ones (t / full_from)² of it
  const float* background;  // [R, 3]
  const float* truth;       // [R, 3]
  double* loss;             // out
  int64_t* ray_offsets;     // [R + 1] out
  std::function<NgpSamples(int64_t)> allocate;  // memory for S samples
  std::vector<float*> grad_density, grad_color;  // like the weights, out
  float *grad_background, *grad_truth;           // [R, 3] out
  float* grad_table;                             // [entries, F] added to
  uint8_t* touched;                              // [entries] set to 1 where grad_table was added to
};

// The same field as a picture: colours only where they show.
struct NgpRender {
  NgpField field;
  NgpRays rays;
  float shows;      // weight below which a sample's colour is left out
  float* rgb;       // [R, 3] out, without background; what was left out has the colour of the rest
  float* opacity;   // [R] out
  float* distance;  // [R] out, weighted sum
  float* median;    // [R] out: where transmittance falls through 1/2; 0 where it does not
};

// Density alone, for occupancy grids and meshes.
struct NgpDensity {
  NgpField field;
  int64_t num_points;
  const float* x;  // [N, 3]
  float* sigma;    // [N] out
};

void ngp_density_cpu(const NgpDensity& params, int threads);
void ngp_loss_cpu(const NgpLoss& params, int threads);
void ngp_render_cpu(const NgpRender& params, int threads);

}  // namespace nerfcore
