// Ray marching through cascaded occupancy bits: Müller et al. 2022, appendix E.1. Box coordinates: the scene box is [0, 1]^3.
//
// A ray's interval [near, far] is tiled by a lattice of steps. An interval is a sample if the cell around its midpoint is occupied.
// The step grows with the distance in eighths, so that the lattice consists of long runs of equal steps, in which a border is
// base + index * step. Empty cells and empty blocks of cells are left in one leap to a border that walking would have met too:
// skipping never changes the set of samples.
//
// V is a number, for one ray, or a SIMD vector of them, for as many rays side by side (core/lanes.h); march_neighbors alone has one
// ray, and V holds consecutive intervals of it (core/neighbors.h).
#pragma once
#include "core/neighbors.h"

namespace nerfcore {

constexpr int kMarchBlock = 4;
constexpr int kMarchLevels = 2;  // blocks of cells, and blocks of blocks

// Whether a grid has blocks of a level: from here on an inner cascade fills whole blocks of the next one.
NC_HD bool march_has_blocks(int resolution, int level) { return resolution >= (level == 0 ? 16 : 64); }

template <class T> struct MarchGrid {
  const uint32_t* bits;                  // [C * G^3 / 32], bit ((c G + z) G + y) G + x
  const uint32_t* blocks[kMarchLevels];  // the same for blocks of kMarchBlock^3 cells, or blocks: whether any is occupied; null: not known
  int resolution;                        // G, a power of two: cell borders and cascade borders are then exact in floating point
  int cascades;                          // C; cascade c is the cube about 0.5 with side 2^(c - (C - 1))
  T step_min, step_max, cone_angle;
};

template <class V> struct MarchRay {
  V origin[3], direction[3], inverse[3];
  V bias[3];  // plane * inverse - bias is a t at which the ray has, for certain, not yet crossed the plane (measured from 0.5)
  V far;
  V t, step, next;  // the current interval [t, min(next, far)) and the step that made it; t >= far: the ray has ended
  V inverse_step;
  V base, index;    // t = base + index * step, except in the first, shortened interval
};

template <class T> NC_HD T march_roundings() { return sizeof(T) == 4 ? T(9.5367431640625e-7) : T(1.7763568394002505e-15); }  // 8 epsilon

template <class T> NC_HD bool is_finite(T x) { return x - x == T(0); }

template <class V> NC_HD V march_step(const MarchGrid<Element<V>>& grid, V t) {
  const V step = max_lanes(keep_eighths(t * grid.cone_angle), splat<V>(grid.step_min));
  return min_lanes(step, splat<V>(grid.step_max));
}

template <class V> NC_HD V march_interval_end(const MarchRay<V>& ray) { return min_lanes(ray.next, ray.far); }

template <class V> NC_HD V march_midpoint(const MarchRay<V>& ray) { return Element<V>(0.5) * (ray.t + march_interval_end(ray)); }

// On to the next interval. A step that is lost in the rounding of t ends the ray.
template <class V> NC_HD void march_advance(const MarchGrid<Element<V>>& grid, MarchRay<V>* ray, Mask<V> active) {
  const V t = ray->next, step = march_step(grid, t);
  const Mask<V> changes = active & (step != ray->step);
  ray->index = select(active, ray->index + Element<V>(1), ray->index);
  if (any(changes)) {
    ray->step = select(changes, step, ray->step);
    ray->inverse_step = select(changes, Element<V>(1) / step, ray->inverse_step);
    ray->base = select(changes, t, ray->base);
    ray->index = select(changes, V{}, ray->index);
  }
  const V next = ray->base + (ray->index + Element<V>(1)) * ray->step;
  ray->t = select(active, select(next > t, t, ray->far), ray->t);
  ray->next = select(active, next, ray->next);
}

// Leaps over intervals of one run to one whose midpoint, too, lies before `exit`, by half a step at least; not at all where steps
// are so short that rounding could use that up.
template <class V> NC_HD void march_leap(const MarchGrid<Element<V>>& grid, MarchRay<V>* ray, V exit, Mask<V> active) {
  using T = Element<V>;
  V leap = floor_of((min_lanes(exit, ray->far) - ray->t) * ray->inverse_step) - T(1);
  active = active & (ray->step >= march_roundings<T>() * T(8) * exit) & (leap >= T(2));
  while (any(active)) {
    const V t = ray->base + (ray->index + leap) * ray->step;
    const Mask<V> lands = active & (march_step(grid, t) == ray->step);  // else the step would change on the way
    ray->index = select(lands, ray->index + leap, ray->index);
    ray->t = select(lands, t, ray->t);
    leap = floor_of(leap * T(0.5));
    active = active & not_of(lands) & (leap >= T(2));
  }
  ray->next = ray->base + (ray->index + T(1)) * ray->step;
}

// The first border behind near is at near + (1 - jitter) step. A ray that holds a NaN or an infinity ends at once.
template <class T>
NC_HD MarchRay<T> march_begin(const MarchGrid<T>& grid, const T* origin, const T* direction, T near, T far, T jitter) {
  MarchRay<T> ray;
  bool finite = is_finite(near) && is_finite(far) && is_finite(jitter);
  for (int d = 0; d < 3; ++d) {
    finite = finite && is_finite(origin[d]) && is_finite(direction[d]);
    ray.origin[d] = origin[d];
    ray.direction[d] = direction[d];
    ray.inverse[d] = T(1) / direction[d];
    ray.bias[d] = (origin[d] - T(0.5)) * ray.inverse[d] + march_roundings<T>() * (std::fabs(origin[d]) + T(1)) * std::fabs(ray.inverse[d]);
  }
  ray.far = finite ? far : near;
  ray.t = near;
  ray.step = march_step(grid, near);
  ray.inverse_step = T(1) / ray.step;
  ray.next = ray.base = near + (T(1) - jitter) * ray.step;
  ray.index = T(-1);
  if (!(ray.next > ray.t)) {  // jitter so close to 1 that nothing is left of the first interval
    ray.next = ray.base = near;
    march_advance(grid, &ray, true);
  }
  return ray;
}

// The cell that answers for a point: corner in cells from the middle of the box, -G/2 <= corner < G/2.
template <class V> struct MarchCell {
  V cascade;
  V cells_per_unit;  // G 2^(C - 1 - cascade)
  V corner[3];
};

// The cell of the interval's midpoint; a point outside the box, where rounding may put it, belongs to the nearest cell. From the
// outermost cascade inwards, while the next one holds the point and its cells are no smaller than the step.
template <class V> NC_HD MarchCell<V> march_cell(const MarchGrid<Element<V>>& grid, const MarchRay<V>& ray) {
  using T = Element<V>;
  const V t = march_midpoint(ray);
  V q[3];  // measured from the middle of the box
  for (int d = 0; d < 3; ++d) q[d] = (ray.origin[d] + t * ray.direction[d]) - T(0.5);
  MarchCell<V> cell{splat<V>(T(grid.cascades - 1)), splat<V>(T(grid.resolution)), {}};
  const V reach = max_lanes(max_lanes(abs_of(q[0]), abs_of(q[1])), abs_of(q[2]));
  T half_side = T(0.25), cells = T(2 * grid.resolution);  // of the next cascade inwards
  for (int c = grid.cascades - 1; c > 0; --c, half_side *= T(0.5), cells *= T(2)) {
    const Mask<V> inner = (reach <= half_side) & (ray.step * cells <= T(1));
    cell.cascade = select(inner, splat<V>(T(c - 1)), cell.cascade);
    cell.cells_per_unit = select(inner, splat<V>(cells), cell.cells_per_unit);
  }
  const T half = T(grid.resolution / 2);
  for (int d = 0; d < 3; ++d)
    cell.corner[d] = min_lanes(max_lanes(floor_of(q[d] * cell.cells_per_unit), splat<V>(-half)), splat<V>(half - T(1)));
  return cell;
}

// Whether the cell is occupied. Where its whole block is empty, the cell becomes the largest such block.
template <class V> NC_HD Mask<V> march_occupied(const MarchGrid<Element<V>>& grid, MarchCell<V>* cell) {
  using T = Element<V>;
  uint32_t side = uint32_t(grid.resolution);
  Unsigned<V> at[3];
  for (int d = 0; d < 3; ++d) at[d] = to_unsigned(cell->corner[d] + T(grid.resolution / 2));
  const Unsigned<V> cascade = to_unsigned(cell->cascade);
  const Mask<V> occupied = test_bit<V>(grid.bits, ((cascade * side + at[2]) * side + at[1]) * side + at[0]);
  for (int level = 0; level < kMarchLevels && grid.blocks[level]; ++level) {
    side /= kMarchBlock;
    for (int d = 0; d < 3; ++d) at[d] = at[d] / kMarchBlock;
    const Mask<V> empty = not_of(test_bit<V>(grid.blocks[level], ((cascade * side + at[2]) * side + at[1]) * side + at[0]));
    cell->cells_per_unit = select(empty, cell->cells_per_unit * T(1.0 / kMarchBlock), cell->cells_per_unit);
    for (int d = 0; d < 3; ++d) cell->corner[d] = select(empty, floor_of(cell->corner[d] * T(1.0 / kMarchBlock)), cell->corner[d]);
  }
  return occupied;
}

// A t before which the ray has certainly not left the cell; it may fall short of the true exit by a few roundings.
template <class V> NC_HD V march_cell_exit(const MarchRay<V>& ray, const MarchCell<V>& cell) {
  using T = Element<V>;
  const V side = T(1) / cell.cells_per_unit;
  V exit = ray.far;
  for (int d = 0; d < 3; ++d) {
    const V plane = (cell.corner[d] + select(ray.direction[d] > V{}, splat<V>(T(1)), V{})) * side;
    const V t = plane * ray.inverse[d] - ray.bias[d];
    exit = select(ray.direction[d] == V{}, exit, min_lanes(t, exit));
  }
  return exit;
}

// Moves past the empty cell or block, found for an interval with `finest` cells per unit, that holds the interval's midpoint.
template <class V>
NC_HD void march_leave(const MarchGrid<Element<V>>& grid, MarchRay<V>* ray, const MarchCell<V>& cell, V finest, Mask<V> moves) {
  const Mask<V> outermost = cell.cascade == Element<V>(grid.cascades - 1);
  const V exit = march_cell_exit(*ray, cell);
  if (any(moves)) march_leap(grid, ray, exit, moves);
  while (any(moves)) {
    march_advance(grid, ray, moves);
    // Within a cell only a growing step can change the cascade that answers.
    moves = moves & (ray->t < ray->far) & (march_midpoint(*ray) < exit) & (outermost | (ray->step * finest <= Element<V>(1)));
  }
}

// Looks at the current interval. True: it is a sample. Else the ray moves past the empty cell or block that holds its midpoint.
template <class V> NC_HD Mask<V> march_visit(const MarchGrid<Element<V>>& grid, MarchRay<V>* ray, Mask<V> active) {
  MarchCell<V> cell = march_cell(grid, *ray);
  const V finest = cell.cells_per_unit;
  const Mask<V> occupied = march_occupied(grid, &cell);
  march_leave(grid, ray, cell, finest, active & not_of(occupied));
  return active & occupied;
}

// Looks at as many intervals as V has lanes, from the current one to the end of its run at most, and moves past them, and past the
// empty cell or block that the last of them is in. Returns a bit for each lane whose interval is a sample. ray->t < ray->far.
template <class V>
NC_HD uint32_t march_neighbors(const MarchGrid<Element<V>>& grid, MarchRay<Element<V>>* ray, V* t_start, V* t_end) {
  using T = Element<V>;
  using Lanes = Neighbors<V>;
  MarchRay<V> lanes;
  for (int d = 0; d < 3; ++d) {
    lanes.origin[d] = splat<V>(ray->origin[d]), lanes.direction[d] = splat<V>(ray->direction[d]);
    lanes.inverse[d] = splat<V>(ray->inverse[d]), lanes.bias[d] = splat<V>(ray->bias[d]);
  }
  lanes.far = splat<V>(ray->far), lanes.step = splat<V>(ray->step);
  const V index = ray->index + Lanes::numbers();
  const Mask<V> is_first = Lanes::first(1);
  lanes.t = select(is_first, splat<V>(ray->t), ray->base + index * ray->step);
  lanes.next = ray->base + (index + T(1)) * ray->step;
  const Mask<V> in_run = (march_step(grid, lanes.t) == ray->step) & (lanes.t < lanes.far) & (lanes.next > lanes.t);
  const int n = Lanes::leading(is_first | in_run);  // lanes that hold an interval

  MarchCell<V> cell = march_cell(grid, lanes);
  const V finest = cell.cells_per_unit;
  const Mask<V> occupied = march_occupied(grid, &cell), sample = occupied & Lanes::first(n);
  const uint32_t hits = lane_bits(sample);
  *t_start = lanes.t, *t_end = march_interval_end(lanes);

  const int last = n - 1;
  ray->t = Lanes::at(lanes.t, last), ray->next = Lanes::at(lanes.next, last), ray->index += T(last);
  MarchCell<T> behind{Lanes::at(cell.cascade, last), Lanes::at(cell.cells_per_unit, last), {}};
  for (int d = 0; d < 3; ++d) behind.corner[d] = Lanes::at(cell.corner[d], last);
  if (hits >> last & 1) march_advance(grid, ray, true);
  else march_leave(grid, ray, behind, Lanes::at(finest, last), true);
  return hits;
}

}  // namespace nerfcore
