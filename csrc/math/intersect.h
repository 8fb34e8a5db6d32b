// Ray against an axis-aligned box by the slab method (Kay and Kajiya 1986), with the care of Williams et al. 2005 for zeros.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// Entry and exit along origin + t * direction, clipped to [near, far]; a miss, or a ray with a NaN, has *t_out == *t_in == near.
template <class T>
NC_HD void intersect_box(const T* origin, const T* direction, const T* box_min, const T* box_max, T near, T far, T* t_in, T* t_out) {
  T enter = near, leave = far;
  bool hit = true;
  for (int d = 0; d < 3; ++d) {
    if (direction[d] == T(0)) {  // parallel to the slab: inside it for ever, or never; 0 * inf would be NaN
      hit = hit && origin[d] >= box_min[d] && origin[d] <= box_max[d];
      continue;
    }
    const T a = (box_min[d] - origin[d]) / direction[d], b = (box_max[d] - origin[d]) / direction[d];
    hit = hit && a == a && b == b;
    enter = max_of(enter, min_of(a, b));
    leave = min_of(leave, max_of(a, b));
  }
  hit = hit && enter < leave;
  *t_in = hit ? enter : near;
  *t_out = hit ? leave : near;
}

}  // namespace nerfcore
