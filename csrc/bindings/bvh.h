#pragma once
#include "bindings/common.h"
#include "kernels/bvh.h"

namespace nerfcore {

// Boxes [M, 6], links [M, 3] and the order of the triangles [T], all on the host.
inline std::tuple<Tensor, Tensor, Tensor> bvh_build_tree(const Tensor& corners) {
  check_contiguous(corners, "corners");
  TORCH_CHECK(corners.is_cpu(), "nerfcore: a tree is built on the host; got corners on ", corners.device());
  Tensor box, link, order;
  NC_DISPATCH(corners, "bvh_build", [&] {
    const BvhNodes<scalar_t> nodes = bvh_build(corners.const_data_ptr<scalar_t>(), corners.size(0));
    const int64_t num_nodes = int64_t(nodes.link.size());
    box = at::empty({num_nodes, 6}, corners.options());
    link = at::empty({num_nodes, 3}, corners.options().dtype(at::kInt));
    order = at::empty({corners.size(0)}, corners.options().dtype(at::kLong));
    std::copy(nodes.box.begin(), nodes.box.end(), box.data_ptr<scalar_t>());
    std::copy(nodes.link.begin(), nodes.link.end(), reinterpret_cast<BvhLink*>(link.data_ptr<int32_t>()));
    std::copy(nodes.order.begin(), nodes.order.end(), order.data_ptr<int64_t>());
  });
  return {box, link, order};
}

template <class T> BvhTree<T> bvh_tree(const Tensor& corners, const Tensor& box, const Tensor& link) {
  for (const Tensor* t : {&corners, &box, &link}) check_contiguous(*t, "a tree");
  TORCH_CHECK(link.scalar_type() == at::kInt, "nerfcore: links must be int32, got ", link.scalar_type());
  return {corners.const_data_ptr<T>(), box.const_data_ptr<T>(), reinterpret_cast<const BvhLink*>(link.const_data_ptr<int32_t>())};
}

inline std::tuple<Tensor, Tensor, Tensor> bvh_nearest(const Tensor& corners, const Tensor& box, const Tensor& link, const Tensor& point,
                                                      const std::optional<Tensor>& within) {
  check_contiguous(point, "point");
  if (within) check_contiguous(*within, "within");
  const int64_t num_points = point.size(0);
  Tensor distance = at::empty({num_points}, point.options()), nearest = at::empty_like(point);
  Tensor triangle = at::empty({num_points}, point.options().dtype(at::kLong));
  NC_DISPATCH(point, "bvh_nearest", [&] {
    const BvhNearest<scalar_t> p{bvh_tree<scalar_t>(corners, box, link), point.const_data_ptr<scalar_t>(),
                                 within ? within->const_data_ptr<scalar_t>() : nullptr, distance.data_ptr<scalar_t>(),
                                 triangle.data_ptr<int64_t>(), nearest.data_ptr<scalar_t>()};
    NC_LAUNCH(bvh_nearest, point, p, num_points);
  });
  return {distance, triangle, nearest};
}

inline Tensor bvh_winding(const Tensor& corners, const Tensor& box, const Tensor& link, const Tensor& dipole, const Tensor& point,
                          double accuracy) {
  check_contiguous(dipole, "dipole"), check_contiguous(point, "point");
  const int64_t num_points = point.size(0);
  Tensor winding = at::empty({num_points}, point.options());
  NC_DISPATCH(point, "bvh_winding", [&] {
    static_assert(sizeof(BvhDipole<scalar_t>) == 7 * sizeof(scalar_t), "a row of dipole");
    const BvhWinding<scalar_t> p{bvh_tree<scalar_t>(corners, box, link),
                                 reinterpret_cast<const BvhDipole<scalar_t>*>(dipole.const_data_ptr<scalar_t>()),
                                 point.const_data_ptr<scalar_t>(), scalar_t(accuracy), winding.data_ptr<scalar_t>()};
    NC_LAUNCH(bvh_winding, point, p, num_points);
  });
  return winding;
}

inline std::tuple<Tensor, Tensor, Tensor> bvh_first_hit(const Tensor& corners, const Tensor& box, const Tensor& link, const Tensor& origin,
                                                        const Tensor& direction, const Tensor& far) {
  for (const Tensor* t : {&origin, &direction, &far}) check_contiguous(*t, "a ray");
  const int64_t num_rays = origin.size(0);
  Tensor distance = at::empty({num_rays}, origin.options()), barycentric = at::empty({num_rays, 2}, origin.options());
  Tensor triangle = at::empty({num_rays}, origin.options().dtype(at::kLong));
  NC_DISPATCH(origin, "bvh_first_hit", [&] {
    const BvhFirstHit<scalar_t> p{bvh_tree<scalar_t>(corners, box, link), origin.const_data_ptr<scalar_t>(),
                                  direction.const_data_ptr<scalar_t>(), far.const_data_ptr<scalar_t>(), distance.data_ptr<scalar_t>(),
                                  triangle.data_ptr<int64_t>(), barycentric.data_ptr<scalar_t>()};
    NC_LAUNCH(bvh_first_hit, origin, p, num_rays);
  });
  return {distance, triangle, barycentric};
}

inline Tensor bvh_any_hit(const Tensor& corners, const Tensor& box, const Tensor& link, const Tensor& origin, const Tensor& direction,
                          const Tensor& far) {
  for (const Tensor* t : {&origin, &direction, &far}) check_contiguous(*t, "a ray");
  const int64_t num_rays = origin.size(0);
  Tensor hit = at::empty({num_rays}, origin.options().dtype(at::kBool));
  NC_DISPATCH(origin, "bvh_any_hit", [&] {
    const BvhAnyHit<scalar_t> p{bvh_tree<scalar_t>(corners, box, link), origin.const_data_ptr<scalar_t>(),
                                direction.const_data_ptr<scalar_t>(), far.const_data_ptr<scalar_t>(), hit.data_ptr<bool>()};
    NC_LAUNCH(bvh_any_hit, origin, p, num_rays);
  });
  return hit;
}

inline void register_bvh(Operations& m) {
  m.def("bvh_build(Tensor corners) -> (Tensor, Tensor, Tensor)", &bvh_build_tree);
  m.def("bvh_nearest(Tensor corners, Tensor box, Tensor link, Tensor point, Tensor? within) -> (Tensor, Tensor, Tensor)", &bvh_nearest);
  m.def("bvh_winding(Tensor corners, Tensor box, Tensor link, Tensor dipole, Tensor point, float accuracy) -> Tensor", &bvh_winding);
  m.def("bvh_first_hit(Tensor corners, Tensor box, Tensor link, Tensor origin, Tensor direction, Tensor far) -> (Tensor, Tensor, Tensor)",
        &bvh_first_hit);
  m.def("bvh_any_hit(Tensor corners, Tensor box, Tensor link, Tensor origin, Tensor direction, Tensor far) -> Tensor", &bvh_any_hit);
}

}  // namespace nerfcore
