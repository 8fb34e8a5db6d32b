// A bounding-volume hierarchy over triangles: what is nearest to a point, how often the surface winds around it, what a ray meets.
#pragma once
#include "core/vec.h"

#include <limits>

namespace nerfcore {

constexpr int kBvhDepth = 64;  // of the deepest tree; as many nodes can wait to be looked at
constexpr double kPi = 3.14159265358979323846;

// Nodes lie in depth-first order, so that the first child of a node is the next node, and the triangles below a node are neighbours.
struct BvhLink {
  int32_t second;      // the second child, or 0: the node is a leaf
  int32_t begin, end;  // the triangles below the node
};

template <class T> struct Triangle { Vec3<T> a, b, c; };

template <class T> struct BvhTree {
  const T* corners;     // [T, 3, 3] of the triangles, in the order of the leaves
  const T* box;         // [M, 6] of the triangles below a node: lower corner, upper corner
  const BvhLink* link;  // [M]

  NC_HD Triangle<T> triangle(int32_t i) const {
    const T* p = corners + 9 * int64_t(i);
    return {Vec3<T>::at(p), Vec3<T>::at(p + 3), Vec3<T>::at(p + 6)};
  }
};

// The nodes that wait to be looked at, each with the least that it can offer: a squared distance, or a distance along a ray.
template <class T> struct BvhQueue {
  int32_t node[kBvhDepth];
  T least[kBvhDepth];
  int size = 0;

  NC_HD void push(int32_t n, T offer) { node[size] = n, least[size++] = offer; }
  // The last one that offers less than `most`, or -1.
  NC_HD int32_t pop(T most) {
    while (size > 0)
      if (least[--size] < most) return node[size];
    return -1;
  }
  // The better of two children, if it offers less than `most`, and the other one waits; else one that waits, or -1.
  NC_HD int32_t choose(int32_t first, T first_offer, int32_t second, T second_offer, T most) {
    const bool swap = second_offer < first_offer;
    const int32_t near = swap ? second : first, far = swap ? first : second;
    const T near_offer = swap ? second_offer : first_offer, far_offer = swap ? first_offer : second_offer;
    if (far_offer < most) push(far, far_offer);
    return near_offer < most ? near : pop(most);
  }
};

// ---- nearest point

template <class T> struct Nearest {
  T distance2;        // squared; on the way in, the most that is of interest
  Vec3<T> point;
  int32_t triangle;   // -1: there is none
};

template <class T> NC_HD T box_distance2(const T* box, Vec3<T> p) {
  const Vec3<T> zero{}, lower = Vec3<T>::at(box), upper = Vec3<T>::at(box + 3);
  const Vec3<T> outside = upper_of(upper_of(lower - p, p - upper), zero);
  return dot(outside, outside);
}

// Offers the point of the segment from `start` along `side` that is nearest to p.
template <class T> NC_HD void nearest_on_segment(Vec3<T> p, Vec3<T> start, Vec3<T> side, int32_t triangle, Nearest<T>* best) {
  const T length2 = dot(side, side);
  const T along = length2 > T(0) ? clamp(dot(p - start, side) / length2, T(0), T(1)) : T(0);
  const Vec3<T> point = start + along * side;
  const T distance2 = dot(p - point, p - point);
  if (distance2 < best->distance2) *best = {distance2, point, triangle};
}

// Offers the point of a triangle that is nearest to p: on its plane if p is above it, else on one of its sides. A triangle without an area
// has only sides. The distance to a plane is a product, not a difference: it is as accurate as the coordinates are however near p is.
template <class T> NC_HD void nearest_on_triangle(Vec3<T> p, const Triangle<T>& t, int32_t triangle, Nearest<T>* best) {
  const Vec3<T> ab = t.b - t.a, bc = t.c - t.b, ca = t.a - t.c, normal = cross(ab, bc);
  const T area2 = dot(normal, normal);
  const bool above = dot(cross(normal, ab), p - t.a) >= T(0) && dot(cross(normal, bc), p - t.b) >= T(0) &&
                     dot(cross(normal, ca), p - t.c) >= T(0);
  if (above && area2 > T(0)) {
    const T height = dot(normal, p - t.a), scaled = height / area2, distance2 = height * scaled;
    if (distance2 < best->distance2) *best = {distance2, p - scaled * normal, triangle};
    return;
  }
  nearest_on_segment(p, t.a, ab, triangle, best);
  nearest_on_segment(p, t.b, bc, triangle, best);
  nearest_on_segment(p, t.c, ca, triangle, best);
}

template <class T> NC_HD void nearest_in_tree(const BvhTree<T>& tree, Vec3<T> p, Nearest<T>* best) {
  BvhQueue<T> queue;
  for (int32_t node = 0; node >= 0;) {
    const BvhLink link = tree.link[node];
    if (link.second) {
      const int32_t first = node + 1;
      node = queue.choose(first, box_distance2(tree.box + 6 * int64_t(first), p), link.second,
                          box_distance2(tree.box + 6 * int64_t(link.second), p), best->distance2);
    } else {
      for (int32_t i = link.begin; i < link.end; ++i) nearest_on_triangle(p, tree.triangle(i), i, best);
      node = queue.pop(best->distance2);
    }
  }
}

// ---- winding number

// The triangles below a node as seen from far away (Barill et al. 2018).
template <class T> struct BvhDipole {
  Vec3<T> middle;  // mean of the triangles, weighted by area
  T radius;        // of a ball about the middle that holds them
  Vec3<T> normal;  // sum of their normals, each as long as its triangle has area
};

// The solid angle under which p sees a triangle (Van Oosterom and Strackee 1983), positive if its corners go clockwise as seen from p.
template <class T> NC_HD T solid_angle(Vec3<T> p, const Triangle<T>& t) {
  const Vec3<T> a = t.a - p, b = t.b - p, c = t.c - p;
  const T la = length(a), lb = length(b), lc = length(c);
  return T(2) * std::atan2(dot(a, cross(b, c)), la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb);
}

// The generalised winding number at p (Jacobson et al. 2013). Nodes that are farther than `accuracy` times their radius count as dipoles
// (Barill et al. 2018, equation 13), nearer triangles one by one.
template <class T> NC_HD T winding_in_tree(const BvhTree<T>& tree, const BvhDipole<T>* dipole, Vec3<T> p, T accuracy) {
  BvhQueue<T> queue;
  T angle = 0;
  for (int32_t node = 0; node >= 0;) {
    const BvhDipole<T>& far = dipole[node];
    const Vec3<T> towards = far.middle - p;
    const T distance2 = dot(towards, towards), reach = accuracy * far.radius;
    const BvhLink link = tree.link[node];
    if (distance2 > reach * reach) {
      angle += dot(far.normal, towards) / (distance2 * std::sqrt(distance2));
      node = queue.pop(T(1));
    } else if (link.second) {
      queue.push(link.second, T(0));
      ++node;
    } else {
      for (int32_t i = link.begin; i < link.end; ++i) angle += solid_angle(p, tree.triangle(i));
      node = queue.pop(T(1));
    }
  }
  return angle * T(1 / (4 * kPi));
}

// ---- rays

template <class T> struct RayHit {
  T distance;        // in units of the ray's direction; on the way in, how far the ray goes
  int32_t triangle;  // -1: it meets none
  T u, v;            // weights of the second and of the third corner
};

// A ray that no two triangles with a common side let through between them (Woop et al. 2013): space is turned and sheared so that the ray
// is the z axis, and a side is computed from its two corners alone, to the same bits whichever triangle it belongs to.
template <class T> struct WatertightRay {
  Vec3<T> origin;
  T inverse[3];  // of the direction; finite where it is zero, so that the face of a box may hold the ray
  int x, y, z;   // the axes, z the one that the ray goes along most
  T shear_x, shear_y, scale_z;

  NC_HD WatertightRay(Vec3<T> from, Vec3<T> direction) : origin(from) {
    const T ax = std::fabs(direction.x), ay = std::fabs(direction.y), az = std::fabs(direction.z);
    z = ax > ay ? (ax > az ? 0 : 2) : (ay > az ? 1 : 2);
    x = (z + 1) % 3, y = (z + 2) % 3;
    shear_x = direction[x] / direction[z], shear_y = direction[y] / direction[z], scale_z = T(1) / direction[z];
    constexpr T kLeast = 4 * std::numeric_limits<T>::min();
    for (int d = 0; d < 3; ++d)
      inverse[d] = T(1) / (std::fabs(direction[d]) > kLeast ? direction[d] : std::copysign(kLeast, direction[d]));
  }

  // Where the ray enters a box, or infinity if that is nowhere on its way to `far`. Never late: Ize 2013.
  NC_HD T enters(const T* box, T far) const {
    constexpr T kInfinity = std::numeric_limits<T>::infinity(), kSlack = 1 + 4 * std::numeric_limits<T>::epsilon();
    T enter = 0, leave = far;
    for (int d = 0; d < 3; ++d) {
      const T a = (box[d] - origin[d]) * inverse[d], b = (box[3 + d] - origin[d]) * inverse[d];
      enter = max_of(enter, min_of(a, b)), leave = min_of(leave, kSlack * max_of(a, b));
    }
    return enter <= leave ? enter : kInfinity;
  }

  // The corner with the ray as the z axis: of its z only what is left after the turn.
  NC_HD Vec3<T> turned(Vec3<T> corner) const {
    const Vec3<T> p = corner - origin;
    return {p[x] - shear_x * p[z], p[y] - shear_y * p[z], scale_z * p[z]};
  }

  // Offers where the ray meets a triangle, from either side.
  NC_HD void meet(const Triangle<T>& t, int32_t triangle, RayHit<T>* best) const {
    const Vec3<T> a = turned(t.a), b = turned(t.b), c = turned(t.c);
    const T u = c.x * b.y - c.y * b.x, v = a.x * c.y - a.y * c.x, w = b.x * a.y - b.y * a.x;  // opposite to a, b, c
    const bool below = u < T(0) || v < T(0) || w < T(0), above = u > T(0) || v > T(0) || w > T(0);
    const T sum = u + v + w;
    if ((below && above) || sum == T(0)) return;
    const T distance = (u * a.z + v * b.z + w * c.z) / sum;
    if (distance > T(0) && distance < best->distance) *best = {distance, triangle, v / sum, w / sum};
  }
};

// The first triangle that a ray meets or, if any one will do, some triangle.
template <bool ANY, class T> NC_HD void meet_in_tree(const BvhTree<T>& tree, const WatertightRay<T>& ray, RayHit<T>* best) {
  BvhQueue<T> queue;
  for (int32_t node = 0; node >= 0;) {
    const BvhLink link = tree.link[node];
    if (link.second) {
      const int32_t first = node + 1;
      node = queue.choose(first, ray.enters(tree.box + 6 * int64_t(first), best->distance), link.second,
                          ray.enters(tree.box + 6 * int64_t(link.second), best->distance), best->distance);
    } else {
      for (int32_t i = link.begin; i < link.end; ++i) ray.meet(tree.triangle(i), i, best);
      if (ANY && best->triangle >= 0) return;
      node = queue.pop(best->distance);
    }
  }
}

}  // namespace nerfcore
