// Emission-absorption quadrature along one ray: Max 1995; Mildenhall et al. 2020, equation 3.
// V is a number, or a SIMD vector of consecutive samples of the ray.
#pragma once
#include "core/neighbors.h"

namespace nerfcore {

// How far into an interval of constant density the light that it stops is stopped in the mean, given their product.
template <class T> NC_HD T mean_stop(T thickness, T length) {
  return thickness > T(1e-2) ? length * (T(1) / thickness - T(1) / std::expm1(thickness)) : length * (T(0.5) - thickness / T(12));
}

// Front to back over the n samples of one ray:
//   T_0 = 1,  w_i = T_i (1 - exp(-sigma_i dt_i)),  T_{i+1} = T_i exp(-sigma_i dt_i),
//   rgb_out = sum w_i rgb_i,  opacity = sum w_i,  distance = sum w_i t_i (t_i the middle of interval i).
// Once T_i < stop_below the ray ends: later samples get weight 0 and `after` 0, which is how the adjoint knows them.
template <class V>
NC_HD void composite_ray(int64_t n, const Element<V>* sigma, const Element<V>* rgb, const Element<V>* t_start, const Element<V>* t_end,
                         Element<V> stop_below, Element<V>* rgb_out, Element<V>* opacity, Element<V>* distance, Element<V>* weight,
                         Element<V>* after) {
  using T = Element<V>;
  using Lanes = Neighbors<V>;
  constexpr int kStep = Lanes::kCount;
  V transmittance = splat<V>(T(1)), color[3] = {}, d{}, sum{};
  bool ended = false;
  int64_t i = 0;
  for (; i < n && !ended; i += kStep) {
    const int64_t count = min_of<int64_t>(n - i, kStep);
    const V start = Lanes::load(t_start + i, count), end = Lanes::load(t_end + i, count);
    V passes, minus_absorbed;
    exponential(Lanes::load(sigma + i, count) * (start - end), &passes, &minus_absorbed);
    const V behind = transmittance * Lanes::running_product(passes), before = Lanes::from_front(behind, transmittance);
    const Mask<V> lit = before >= stop_below;
    ended = any(not_of(lit) & Lanes::first(int(count)));
    int64_t alive = count;
    if (__builtin_expect(ended, 0)) alive = Lanes::leading(lit);  // a branch: until it is known where a ray ends, colours load
    const Mask<V> lives = Lanes::first(int(alive));
    const V w = select(lives, before * -minus_absorbed, V{});
    Lanes::store(weight + i, w, count);
    Lanes::store(after + i, select(lives, behind, V{}), count);
    color[0] += Lanes::template tripled<0>(w) * Lanes::load(rgb + 3 * i, 3 * alive);
    color[1] += Lanes::template tripled<1>(w) * Lanes::load(rgb + 3 * i + kStep, 3 * alive - kStep);
    color[2] += Lanes::template tripled<2>(w) * Lanes::load(rgb + 3 * i + 2 * kStep, 3 * alive - 2 * kStep);
    d += w * (T(0.5) * (start + end));
    sum += w;
    transmittance = Lanes::last_everywhere(behind);
  }
  for (; i < n; i += kStep) {
    Lanes::store(weight + i, V{}, n - i);
    Lanes::store(after + i, V{}, n - i);
  }
  const V parts[4] = {Lanes::template axis<0>(color), Lanes::template axis<1>(color), Lanes::template axis<2>(color), sum};
  T sums[4];
  Lanes::sums(parts, sums);
  rgb_out[0] = sums[0], rgb_out[1] = sums[1], rgb_out[2] = sums[2], *opacity = sums[3];
  *distance = Lanes::sum(d);
}

// Adjoint, back to front: with v_i = dL/dw_i,  dL/dsigma_i = dt_i (T_{i+1} v_i - sum_{j>i} w_j v_j),  dL/drgb_i = w_i grad_rgb_out.
// Returns the sum for the samples in front of these: `behind` of the part of the ray that lies there, 0 for a whole ray.
template <class V>
NC_HD Element<V> composite_ray_backward(int64_t n, const Element<V>* rgb, const Element<V>* t_start, const Element<V>* t_end,
                                        const Element<V>* weight, const Element<V>* after, const Element<V>* grad_rgb_out,
                                        Element<V> grad_opacity, Element<V> grad_distance, const Element<V>* grad_weight,
                                        Element<V> behind, Element<V>* grad_sigma, Element<V>* grad_rgb) {
  using T = Element<V>;
  using Lanes = Neighbors<V>;
  constexpr int kStep = Lanes::kCount;
  const V grad_color[3] = {Lanes::template repeated<0>(grad_rgb_out), Lanes::template repeated<1>(grad_rgb_out),
                           Lanes::template repeated<2>(grad_rgb_out)};
  V from_here = splat<V>(behind);  // sum over this sample and all behind it
  for (int64_t i = (n - 1) / kStep * kStep; i >= 0; i -= kStep) {
    const int64_t count = min_of<int64_t>(n - i, kStep);
    const V w = Lanes::load(weight + i, count), t = Lanes::load(after + i, count);
    const V start = Lanes::load(t_start + i, count), end = Lanes::load(t_end + i, count);
    V products[3];
    for (int k = 0; k < 3; ++k) products[k] = grad_color[k] * Lanes::load(rgb + 3 * i + k * kStep, 3 * count - k * kStep);
    V v = Lanes::template axis<0>(products) + Lanes::template axis<1>(products) + Lanes::template axis<2>(products) + grad_opacity +
          grad_distance * (T(0.5) * (start + end));
    if (grad_weight) v += Lanes::load(grad_weight + i, count);
    const Mask<V> dead = (w == V{}) & (t == V{});
    const V edge = from_here;
    from_here = Lanes::sum_behind(select(dead, V{}, w * v)) + Lanes::first_everywhere(edge);
    const V grad = (end - start) * (t * v - Lanes::from_behind(from_here, edge));
    Lanes::store(grad_sigma + i, select(dead, V{}, grad), count);
    Lanes::store(grad_rgb + 3 * i, Lanes::template tripled<0>(w) * grad_color[0], 3 * count);
    Lanes::store(grad_rgb + 3 * i + kStep, Lanes::template tripled<1>(w) * grad_color[1], 3 * count - kStep);
    Lanes::store(grad_rgb + 3 * i + 2 * kStep, Lanes::template tripled<2>(w) * grad_color[2], 3 * count - 2 * kStep);
  }
  return Lanes::front(from_here);
}

}  // namespace nerfcore
