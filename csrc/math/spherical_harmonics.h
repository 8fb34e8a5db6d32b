// Real spherical harmonics of bands 0 to 3 as polynomials in x, y, z (Ramamoorthi and Hanrahan 2001; the order and signs of
// Müller et al. 2022): band l has components m = -l ... l, the Condon-Shortley phase is kept.
// V is a number, a SIMD vector of them, for as many directions side by side (core/lanes.h), or a dual of a number (core/dual.h).
#pragma once
#include "core/dual.h"

namespace nerfcore {

constexpr double kSh00 = 0.28209479177387814;  // sqrt(1 / 4 pi)
constexpr double kSh1 = 0.48860251190291992;   // sqrt(3 / 4 pi)
constexpr double kSh20 = 0.31539156525252005;  // sqrt(5 / 16 pi)
constexpr double kSh21 = 1.0925484305920792;   // sqrt(15 / 4 pi)
constexpr double kSh22 = 0.54627421529603959;  // sqrt(15 / 16 pi)
constexpr double kSh30 = 0.3731763325901154;   // sqrt(7 / 16 pi)
constexpr double kSh31 = 0.45704579946446577;  // sqrt(21 / 32 pi)
constexpr double kSh32 = 1.4453057213202771;   // sqrt(105 / 16 pi)
constexpr double kSh33 = 0.59004358992664352;  // sqrt(35 / 32 pi)

// out[degree^2]: bands 0 to degree - 1 at the direction d.
template <class V> NC_HD void spherical_harmonics_basis(const V* d, int degree, V* out) {
  using T = Element<V>;
  const V x = d[0], y = d[1], z = d[2];
  out[0] = splat<V>(T(kSh00));
  if (degree < 2) return;
  out[1] = -T(kSh1) * y;
  out[2] = T(kSh1) * z;
  out[3] = -T(kSh1) * x;
  if (degree < 3) return;
  const V xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  out[4] = T(kSh21) * xy;
  out[5] = -T(kSh21) * yz;
  out[6] = T(kSh20) * (T(3) * zz - T(1));
  out[7] = -T(kSh21) * xz;
  out[8] = T(kSh22) * (xx - yy);
  if (degree < 4) return;
  out[9] = T(kSh33) * y * (yy - T(3) * xx);
  out[10] = T(2 * kSh32) * xy * z;
  out[11] = T(kSh31) * y * (T(1) - T(5) * zz);
  out[12] = T(kSh30) * z * (T(5) * zz - T(3));
  out[13] = T(kSh31) * x * (T(1) - T(5) * zz);
  out[14] = T(kSh32) * z * (xx - yy);
  out[15] = T(kSh33) * x * (T(3) * yy - xx);
}

// Adjoint: grad_d[3] = sum_i grad_out[i] d out[i] / d (x, y, z).
template <class V> NC_HD void spherical_harmonics_basis_backward(const V* d, int degree, const V* g, V* grad_d) {
  using T = Element<V>;
  const V x = d[0], y = d[1], z = d[2];
  V gx{}, gy{}, gz{};
  if (degree > 1) {
    gx -= T(kSh1) * g[3];
    gy -= T(kSh1) * g[1];
    gz += T(kSh1) * g[2];
  }
  if (degree > 2) {
    gx += T(kSh21) * (y * g[4] - z * g[7]) + T(2 * kSh22) * x * g[8];
    gy += T(kSh21) * (x * g[4] - z * g[5]) - T(2 * kSh22) * y * g[8];
    gz += T(6 * kSh20) * z * g[6] - T(kSh21) * (y * g[5] + x * g[7]);
  }
  if (degree > 3) {
    const V xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
    const V band1 = T(kSh31) * (T(1) - T(5) * zz);
    gx += T(3 * kSh33) * ((yy - xx) * g[15] - T(2) * xy * g[9]) + T(2 * kSh32) * (yz * g[10] + xz * g[14]) + band1 * g[13];
    gy += T(3 * kSh33) * ((yy - xx) * g[9] + T(2) * xy * g[15]) + T(2 * kSh32) * (xz * g[10] - yz * g[14]) + band1 * g[11];
    gz += T(2 * kSh32) * xy * g[10] + T(kSh32) * (xx - yy) * g[14] - T(10 * kSh31) * (yz * g[11] + xz * g[13]) +
          T(3 * kSh30) * (T(5) * zz - T(1)) * g[12];
  }
  grad_d[0] = gx;
  grad_d[1] = gy;
  grad_d[2] = gz;
}

}  // namespace nerfcore
