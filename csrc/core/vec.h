// Three numbers as a point or a direction.
#pragma once
#include "core/platform.h"

namespace nerfcore {

template <class T> struct Vec3 {
  T x, y, z;

  NC_HD static Vec3 at(const T* p) { return {p[0], p[1], p[2]}; }
  NC_HD T operator[](int axis) const { return axis == 0 ? x : axis == 1 ? y : z; }
  NC_HD void store(T* p) const { p[0] = x, p[1] = y, p[2] = z; }
  NC_HD bool is_finite() const { return T(0) * x + T(0) * y + T(0) * z == T(0); }
};

template <class T> NC_HD Vec3<T> operator+(Vec3<T> a, Vec3<T> b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
template <class T> NC_HD Vec3<T> operator-(Vec3<T> a, Vec3<T> b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
template <class T> NC_HD Vec3<T> operator*(T s, Vec3<T> a) { return {s * a.x, s * a.y, s * a.z}; }
template <class T> NC_HD T dot(Vec3<T> a, Vec3<T> b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
template <class T> NC_HD Vec3<T> cross(Vec3<T> a, Vec3<T> b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class T> NC_HD T length(Vec3<T> a) { return std::sqrt(dot(a, a)); }
template <class T> NC_HD Vec3<T> lower_of(Vec3<T> a, Vec3<T> b) { return {min_of(a.x, b.x), min_of(a.y, b.y), min_of(a.z, b.z)}; }
template <class T> NC_HD Vec3<T> upper_of(Vec3<T> a, Vec3<T> b) { return {max_of(a.x, b.x), max_of(a.y, b.y), max_of(a.z, b.z)}; }

}  // namespace nerfcore
