// Ray marching through cascaded occupancy bits: Müller et al. 2022, appendix E.1. Box coordinates: the scene box is [0, 1]^3.
//
// A ray's interval [near, far] is tiled by a lattice of steps. An interval is a sample if the cell around its midpoint is occupied.
// Empty cells are left without further look-ups, yet by the same additions, so that skipping never changes the set of samples.
#pragma once
#include "core/platform.h"

namespace nerfcore {

template <class T> struct MarchGrid {
  const uint8_t* bits;  // [C * G^3 / 8], bit ((c G + z) G + y) G + x
  int resolution;       // G, a power of two: cell borders and cascade borders are then exact in floating point
  int cascades;         // C; cascade c is the cube about 0.5 with side 2^(c - (C - 1))
  T step_min, step_max, cone_angle;
};

// The cell that answers for a point: corner in cells from the middle of the box, -G/2 <= corner < G/2.
template <class T> struct MarchCell {
  int cascade;
  T cells_per_unit;  // G 2^(C - 1 - cascade)
  T corner[3];
};

template <class T> struct MarchRay {
  T origin[3], direction[3], inverse[3];
  T bias[3];  // plane * inverse - bias is a t at which the ray has, for certain, not yet crossed the plane (measured from 0.5)
  T far;
  T t, step, next;  // the current interval [t, min(next, far)) and the step that made it; t >= far: the ray has ended
};

template <class T> NC_HD bool is_finite(T x) { return x - x == T(0); }

template <class T> NC_HD T march_step(const MarchGrid<T>& grid, T t) {
  return clamp(t * grid.cone_angle, grid.step_min, grid.step_max);
}

// From the outermost cascade inwards, while the next one holds the point q (measured from 0.5) and its cells are no smaller
// than the step.
template <class T> NC_HD int cascade_of(const MarchGrid<T>& grid, const T* q, T step, T* cells_per_unit) {
  const T reach = max_of(max_of(std::fabs(q[0]), std::fabs(q[1])), std::fabs(q[2]));
  int cascade = grid.cascades - 1;
  T half_side = T(0.25), cells = T(2 * grid.resolution);  // of the next cascade inwards
  for (; cascade > 0 && reach <= half_side && step * cells <= T(1); --cascade) {
    half_side *= T(0.5);
    cells *= T(2);
  }
  *cells_per_unit = cells * T(0.5);
  return cascade;
}

// The cell of the point at t; a point outside the box, where rounding may put it, belongs to the nearest cell.
template <class T> NC_HD MarchCell<T> march_cell(const MarchGrid<T>& grid, const MarchRay<T>& ray, T t) {
  T q[3];
  for (int d = 0; d < 3; ++d) q[d] = (ray.origin[d] + t * ray.direction[d]) - T(0.5);
  MarchCell<T> cell;
  cell.cascade = cascade_of(grid, q, ray.step, &cell.cells_per_unit);
  const T half = T(grid.resolution / 2);
  for (int d = 0; d < 3; ++d) cell.corner[d] = clamp(std::floor(q[d] * cell.cells_per_unit), -half, half - T(1));
  return cell;
}

template <class T> NC_HD bool march_occupied(const MarchGrid<T>& grid, const MarchCell<T>& cell) {
  const int g = grid.resolution;
  const int x = int(cell.corner[0]) + g / 2, y = int(cell.corner[1]) + g / 2, z = int(cell.corner[2]) + g / 2;
  const int64_t bit = ((int64_t(cell.cascade) * g + z) * g + y) * g + x;
  return grid.bits[bit >> 3] >> (bit & 7) & 1;
}

// A t before which the ray has certainly not left the cell; it may fall short of the true exit by a few roundings.
template <class T> NC_HD T march_cell_exit(const MarchRay<T>& ray, const MarchCell<T>& cell) {
  const T side = T(1) / cell.cells_per_unit;
  T exit = ray.far;
  for (int d = 0; d < 3; ++d) {
    const T plane = (cell.corner[d] + T(ray.direction[d] > T(0))) * side;
    const T t = plane * ray.inverse[d] - ray.bias[d];
    exit = ray.direction[d] == T(0) ? exit : min_of(t, exit);
  }
  return exit;
}

template <class T> NC_HD T march_interval_end(const MarchRay<T>& ray) { return min_of(ray.next, ray.far); }

template <class T> NC_HD T march_midpoint(const MarchRay<T>& ray) { return T(0.5) * (ray.t + march_interval_end(ray)); }

// On to the next interval. A step that is lost in the rounding of t ends the ray.
template <class T> NC_HD void march_advance(const MarchGrid<T>& grid, MarchRay<T>* ray) {
  ray->t = ray->next;
  ray->step = march_step(grid, ray->t);
  ray->next = ray->t + ray->step;
  if (!(ray->next > ray->t)) ray->t = ray->far;
}

// The first border behind near is at near + (1 - jitter) step. A ray that holds a NaN or an infinity ends at once.
template <class T>
NC_HD MarchRay<T> march_begin(const MarchGrid<T>& grid, const T* origin, const T* direction, T near, T far, T jitter) {
  const T roundings = sizeof(T) == 4 ? T(9.5367431640625e-7) : T(1.7763568394002505e-15);  // 8 epsilon
  MarchRay<T> ray;
  bool finite = is_finite(near) && is_finite(far) && is_finite(jitter);
  for (int d = 0; d < 3; ++d) {
    finite = finite && is_finite(origin[d]) && is_finite(direction[d]);
    ray.origin[d] = origin[d];
    ray.direction[d] = direction[d];
    ray.inverse[d] = T(1) / direction[d];
    ray.bias[d] = (origin[d] - T(0.5)) * ray.inverse[d] + roundings * (std::fabs(origin[d]) + T(1)) * std::fabs(ray.inverse[d]);
  }
  ray.far = finite ? far : near;
  ray.t = near;
  ray.step = march_step(grid, near);
  ray.next = near + (T(1) - jitter) * ray.step;
  if (!(ray.next > ray.t)) {  // jitter so close to 1 that nothing is left of the first interval
    ray.next = near;
    march_advance(grid, &ray);
  }
  return ray;
}

// Continues a ray at a border of its lattice that an earlier march has found.
template <class T> NC_HD void march_resume(const MarchGrid<T>& grid, MarchRay<T>* ray, T border) {
  if (!(border > ray->t)) return;
  ray->next = border;
  march_advance(grid, ray);
}

// Finds the next occupied interval and moves past it; false at the end of the ray.
template <class T> NC_HD bool march_next(const MarchGrid<T>& grid, MarchRay<T>* ray, T* t_start, T* t_end) {
  while (ray->t < ray->far) {
    const MarchCell<T> cell = march_cell(grid, *ray, march_midpoint(*ray));
    if (march_occupied(grid, cell)) {
      *t_start = ray->t;
      *t_end = march_interval_end(*ray);
      march_advance(grid, ray);
      return true;
    }
    // Within a cell only a growing step can change the cascade that answers.
    const T exit = march_cell_exit(*ray, cell);
    const bool outermost = cell.cascade == grid.cascades - 1;
    do march_advance(grid, ray);
    while (ray->t < ray->far && march_midpoint(*ray) < exit && (outermost || ray->step * cell.cells_per_unit <= T(1)));
  }
  return false;
}

}  // namespace nerfcore
