#pragma once
#include "math/hash_grid.h"

#include <vector>

namespace nerfcore {

// Hash grid -> density network -> embedding, whose first value is the log density; embedding and spherical harmonics of the
// direction -> colour network -> sigmoid. Müller et al. 2022, section 5.4. Weights are [in, out] row-major.
struct NgpField {
  GridLevels levels;
  const float* table;  // [entries, F]
  int features;        // F in {1, 2, 4, 8}
  std::vector<int> density_widths, color_widths;
  std::vector<const float*> density_weights, color_weights;
  int sh_degree;          // 1 to 4
  float max_log_density;  // log densities above are cut
};

struct NgpRays {
  int64_t num_rays;
  const float* origin;         // [R, 3]
  const float* direction;      // [R, 3] unit
  const int64_t* ray_offsets;  // [R + 1]
  const float* t_start;        // [S]
  const float* t_end;          // [S]
  float stop_below;            // transmittance at which a ray ends
};

// Mean squared error of the rendered rays over their background, and its gradients.
struct NgpLoss {
  NgpField field;
  NgpRays rays;
  const float* background;  // [R, 3]
  const float* truth;       // [R, 3]
  double* loss;             // out
  float* weight;            // [S] out
  std::vector<float*> grad_density, grad_color;  // like the weights, out
  float* grad_table;                             // [entries, F] added to
  uint8_t* touched;                              // [entries] set to 1 where grad_table was added to
};

void ngp_loss_cpu(const NgpLoss& params, int threads);

}  // namespace nerfcore
