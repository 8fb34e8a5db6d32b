#pragma once
#include "math/bvh.h"

#ifndef __CUDACC__
#include <vector>
#endif

namespace nerfcore {

template <class T> struct BvhNearest {
  BvhTree<T> tree;
  const T* point;     // [N, 3]
  const T* within;    // [N] how far is looked, or null for any distance
  T* distance;        // [N] out, infinite where there is none
  int64_t* triangle;  // [N] out, in the order of the tree; -1 where there is none
  T* nearest;         // [N, 3] out, the point itself where there is none

  NC_HD void operator()(int64_t i) const {
    const Vec3<T> p = Vec3<T>::at(point + 3 * i);
    const T most = within ? within[i] * within[i] : std::numeric_limits<T>::infinity();
    Nearest<T> best{most, p, -1};
    if (p.is_finite()) nearest_in_tree(tree, p, &best);
    distance[i] = best.triangle < 0 ? std::numeric_limits<T>::infinity() : std::sqrt(best.distance2);
    triangle[i] = best.triangle;
    best.point.store(nearest + 3 * i);
  }
};

template <class T> struct BvhWinding {
  BvhTree<T> tree;
  const BvhDipole<T>* dipole;  // [M]
  const T* point;              // [N, 3]
  T accuracy;                  // a node is far away from this many times its radius on
  T* winding;                  // [N] out

  NC_HD void operator()(int64_t i) const {
    const Vec3<T> p = Vec3<T>::at(point + 3 * i);
    winding[i] = p.is_finite() ? winding_in_tree(tree, dipole, p, accuracy) : std::numeric_limits<T>::quiet_NaN();
  }
};

template <class T> struct BvhFirstHit {
  BvhTree<T> tree;
  const T* origin;     // [R, 3]
  const T* direction;  // [R, 3], need not be unit: distances are in units of its length
  const T* far;        // [R] where a ray ends
  T* distance;         // [R] out, infinite where the ray meets nothing
  int64_t* triangle;   // [R] out, in the order of the tree; -1 where there is none
  T* barycentric;      // [R, 2] out, weights of the second and of the third corner

  NC_HD void operator()(int64_t r) const {
    RayHit<T> best{far[r], -1, T(0), T(0)};
    meet_in_tree<false>(tree, WatertightRay<T>(Vec3<T>::at(origin + 3 * r), Vec3<T>::at(direction + 3 * r)), &best);
    distance[r] = best.triangle < 0 ? std::numeric_limits<T>::infinity() : best.distance;
    triangle[r] = best.triangle;
    barycentric[2 * r] = best.u, barycentric[2 * r + 1] = best.v;
  }
};

template <class T> struct BvhAnyHit {
  BvhTree<T> tree;
  const T* origin;     // [R, 3]
  const T* direction;  // [R, 3]
  const T* far;        // [R]
  bool* hit;           // [R] out

  NC_HD void operator()(int64_t r) const {
    RayHit<T> best{far[r], -1, T(0), T(0)};
    meet_in_tree<true>(tree, WatertightRay<T>(Vec3<T>::at(origin + 3 * r), Vec3<T>::at(direction + 3 * r)), &best);
    hit[r] = best.triangle >= 0;
  }
};

template <class T> void bvh_nearest_cpu(const BvhNearest<T>& params, int64_t num_points, int threads);
template <class T> void bvh_nearest_cuda(const BvhNearest<T>& params, int64_t num_points, void* stream);
template <class T> void bvh_winding_cpu(const BvhWinding<T>& params, int64_t num_points, int threads);
template <class T> void bvh_winding_cuda(const BvhWinding<T>& params, int64_t num_points, void* stream);
template <class T> void bvh_first_hit_cpu(const BvhFirstHit<T>& params, int64_t num_rays, int threads);
template <class T> void bvh_first_hit_cuda(const BvhFirstHit<T>& params, int64_t num_rays, void* stream);
template <class T> void bvh_any_hit_cpu(const BvhAnyHit<T>& params, int64_t num_rays, int threads);
template <class T> void bvh_any_hit_cuda(const BvhAnyHit<T>& params, int64_t num_rays, void* stream);

#ifndef __CUDACC__
// The tree is built on the host, whichever device asks it afterwards.
template <class T> struct BvhNodes {
  std::vector<T> box;            // [M, 6]
  std::vector<BvhLink> link;     // [M]
  std::vector<int64_t> order;    // [T] the triangles in the order of the leaves
};

// corners [T, 3, 3], finite, T >= 1.
template <class T> BvhNodes<T> bvh_build(const T* corners, int64_t num_triangles);
#endif

}  // namespace nerfcore
