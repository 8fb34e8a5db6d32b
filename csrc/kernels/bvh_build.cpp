// The tree, from above: triangles are parted where the surface-area heuristic (MacDonald and Booth 1990) expects the least work, among the
// borders of a few bins along each axis (Wald 2007). One thread, the same tree every time.
#include "kernels/bvh.h"

#include <algorithm>

namespace nerfcore {
namespace {

constexpr int64_t kLeafTriangles = 4;
constexpr int kBins = 16;
constexpr int kHeuristicDepth = kBvhDepth / 2;  // below, nodes are halved, and 2^31 triangles end in time

template <class T> struct Box {
  Vec3<T> lower = {kFar, kFar, kFar}, upper = {-kFar, -kFar, -kFar};
  static constexpr T kFar = std::numeric_limits<T>::max();

  void include(const Box& other) { lower = lower_of(lower, other.lower), upper = upper_of(upper, other.upper); }
  void include(Vec3<T> point) { lower = lower_of(lower, point), upper = upper_of(upper, point); }
  Vec3<T> middle() const { return T(0.5) * lower + T(0.5) * upper; }
  T half_area() const {
    const Vec3<T> side = upper - lower;
    return side.x * side.y + side.y * side.z + side.z * side.x;
  }
};

template <class T> struct Item {
  Box<T> box;
  int64_t triangle;
};

template <class T> struct Bin {
  Box<T> box;
  int64_t count = 0;

  void include(const Bin& other) { box.include(other.box), count += other.count; }
  T cost() const { return count ? T(count) * box.half_area() : T(0); }
};

// The bins along an axis of the middles of triangles.
template <class T> struct Binning {
  int axis = 0;
  T lower = 0, scale = 0;

  Binning(int axis, const Box<T>& middles)
      : axis(axis), lower(middles.lower[axis]), scale(T(kBins) / (middles.upper[axis] - middles.lower[axis])) {}
  int operator()(const Item<T>& item) const { return int(min_of((item.box.middle()[axis] - lower) * scale, T(kBins - 1))); }
};

template <class T> class Builder {
 public:
  explicit Builder(std::vector<Item<T>> given) : items(std::move(given)) { build(0, int64_t(items.size()), 0); }

  BvhNodes<T> nodes() const {
    BvhNodes<T> nodes{{}, links, {}};
    for (const Box<T>& box : boxes) {
      T corners[6];
      box.lower.store(corners), box.upper.store(corners + 3);
      nodes.box.insert(nodes.box.end(), corners, corners + 6);
    }
    for (const Item<T>& item : items) nodes.order.push_back(item.triangle);
    return nodes;
  }

 private:
  void build(int64_t begin, int64_t end, int depth) {
    const size_t node = links.size();
    Box<T> box, middles;
    for (int64_t i = begin; i < end; ++i) box.include(items[i].box), middles.include(items[i].box.middle());
    boxes.push_back(box), links.push_back({0, int32_t(begin), int32_t(end)});
    if (end - begin <= kLeafTriangles) return;
    const int64_t border = part(begin, end, middles, depth);
    build(begin, border, depth + 1);
    links[node].second = int32_t(links.size());
    build(border, end, depth + 1);
  }

  // Orders the items so that those of the first child come first. Returns where the second child's begin.
  int64_t part(int64_t begin, int64_t end, const Box<T>& middles, int depth) {
    T least = std::numeric_limits<T>::infinity();
    int best_axis = -1, best_border = 0;
    for (int axis = 0; axis < 3 && depth < kHeuristicDepth; ++axis) {
      if (!(middles.lower[axis] < middles.upper[axis])) continue;
      const Binning<T> bin_of(axis, middles);
      Bin<T> bins[kBins], before, after[kBins];
      for (int64_t i = begin; i < end; ++i) {
        Bin<T>& bin = bins[bin_of(items[i])];
        bin.box.include(items[i].box), ++bin.count;
      }
      for (int b = kBins - 1; b > 0; --b) {
        after[b - 1] = after[b];
        after[b - 1].include(bins[b]);
      }
      for (int b = 0; b + 1 < kBins; ++b) {
        before.include(bins[b]);
        const T cost = before.cost() + after[b].cost();
        if (before.count && after[b].count && cost < least) least = cost, best_axis = axis, best_border = b;
      }
    }
    if (best_axis < 0) return begin + (end - begin) / 2;  // all in one place, or too deep
    const Binning<T> bin_of(best_axis, middles);
    const auto first = [&](const Item<T>& item) { return bin_of(item) <= best_border; };
    return std::partition(items.begin() + begin, items.begin() + end, first) - items.begin();
  }

  std::vector<Item<T>> items;
  std::vector<Box<T>> boxes;
  std::vector<BvhLink> links;
};

}  // namespace

template <class T> BvhNodes<T> bvh_build(const T* corners, int64_t num_triangles) {
  std::vector<Item<T>> items(num_triangles);
  for (int64_t t = 0; t < num_triangles; ++t) {
    items[t].triangle = t;
    for (int c = 0; c < 3; ++c) items[t].box.include(Vec3<T>::at(corners + 9 * t + 3 * c));
  }
  return Builder<T>(std::move(items)).nodes();
}

template BvhNodes<float> bvh_build(const float*, int64_t);
template BvhNodes<double> bvh_build(const double*, int64_t);

}  // namespace nerfcore
