"""What the compiled operations return, without data: shapes and types for torch.compile and torch.export.

Imported when the kernels are loaded, because an operation must exist before its fake. A size that only the data decides
is a new symbol.
"""

from __future__ import annotations

import torch
from torch.library import get_ctx, register_fake


@register_fake("nerfcore::adam")
def _(param, gradient, first, second, scales, beta1, beta2, epsilon):
    return None


@register_fake("nerfcore::adam_touched")
def _(param, gradient, touched, first, second, copy, scales, beta1, beta2, epsilon):
    return None


@register_fake("nerfcore::bvh_build")
def _(corners):
    nodes = get_ctx().new_dynamic_size()
    link, order = corners.new_empty(nodes, 3, dtype=torch.int32), corners.new_empty(corners.shape[0], dtype=torch.int64)
    return corners.new_empty(nodes, 6), link, order


@register_fake("nerfcore::bvh_nearest")
def _(corners, box, link, point, within):
    return point.new_empty(point.shape[0]), point.new_empty(point.shape[0], dtype=torch.int64), torch.empty_like(point)


@register_fake("nerfcore::bvh_winding")
def _(corners, box, link, dipole, point, accuracy):
    return point.new_empty(point.shape[0])


@register_fake("nerfcore::bvh_first_hit")
def _(corners, box, link, origin, direction, far):
    rays = origin.shape[0]
    return origin.new_empty(rays), origin.new_empty(rays, dtype=torch.int64), origin.new_empty(rays, 2)


@register_fake("nerfcore::bvh_any_hit")
def _(corners, box, link, origin, direction, far):
    return origin.new_empty(origin.shape[0], dtype=torch.bool)


@register_fake("nerfcore::composite_forward")
def _(sigma, rgb, t_start, t_end, ray_offsets, stop_below):
    rays = ray_offsets.shape[0] - 1
    per_ray = sigma.new_empty(rays, 3), sigma.new_empty(rays), sigma.new_empty(rays)
    return *per_ray, torch.empty_like(sigma), torch.empty_like(sigma)


@register_fake("nerfcore::composite_backward")
def _(rgb, t_start, t_end, ray_offsets, weight, after, grad_rgb_out, grad_opacity, grad_distance, grad_weight):
    return torch.empty_like(weight), torch.empty_like(rgb)


@register_fake("nerfcore::distortion_forward")
def _(weight, t_start, t_end, ray_offsets):
    return weight.new_empty(ray_offsets.shape[0] - 1)


@register_fake("nerfcore::distortion_backward")
def _(weight, t_start, t_end, ray_offsets, grad_out):
    return torch.empty_like(weight)


@register_fake("nerfcore::hash_grid_forward")
def _(x, along, table, scale, resolution, offset, smooth):
    return x.new_empty(x.shape[0], len(scale) * table.shape[1])


@register_fake("nerfcore::hash_grid_backward")
def _(x, along, table, grad_out, scale, resolution, offset, smooth, wants_x, wants_table, deterministic):
    return torch.empty_like(x) if wants_x else x.new_empty(0), x.new_empty(table.shape if wants_table else 0)


@register_fake("nerfcore::interlevel_forward")
def _(weight, t_start, t_end, ray_offsets, proposed, proposed_start, proposed_end, proposed_offsets):
    return weight.new_empty(ray_offsets.shape[0] - 1)


@register_fake("nerfcore::interlevel_backward")
def _(weight, t_start, t_end, ray_offsets, proposed, proposed_start, proposed_end, proposed_offsets, grad_out):
    return torch.empty_like(proposed)


@register_fake("nerfcore::intersect_forward")
def _(origin, direction, box_min, box_max, near, far):
    return origin.new_empty(origin.shape[0]), origin.new_empty(origin.shape[0])


@register_fake("nerfcore::march_forward")
def _(
    origin, direction, near, far, bits, jitter, resolution, cascades, step_min, step_max, cone_angle,
    max_samples_per_ray, capacity,
):
    samples = get_ctx().new_dynamic_size() if capacity is None else capacity
    ray_offsets = origin.new_empty(origin.shape[0] + 1, dtype=torch.int64)
    return origin.new_empty(samples), origin.new_empty(samples), ray_offsets, ray_offsets.new_empty(())


@register_fake("nerfcore::marching_cubes")
def _(volume, iso, table):
    vertices, faces = get_ctx().new_dynamic_size(), get_ctx().new_dynamic_size()
    finite = volume.new_empty((), dtype=torch.bool)
    return volume.new_empty(vertices, 3), volume.new_empty(faces, 3, dtype=torch.int64), finite


@register_fake("nerfcore::mlp_forward")
def _(x, weights, activation, precision, keep_hidden):
    hidden = get_ctx().new_dynamic_size() if keep_hidden else 0  # how activations are kept is the kernel's own affair
    return x.new_empty(x.shape[0], weights[-1].shape[1]), x.new_empty(hidden)


@register_fake("nerfcore::mlp_backward")
def _(x, weights, hidden, out, grad_out, activation, precision, wants_x):
    return [torch.empty_like(x) if wants_x else x.new_empty(0), *(torch.empty_like(w) for w in weights)]


@register_fake("nerfcore::multilinear_forward")
def _(x, along, values, links):
    return x.new_empty(x.shape[0], x.shape[1], values.shape[-1])


@register_fake("nerfcore::multilinear_backward")
def _(x, along, values, links, grad_out, wants_x, wants_values):
    return torch.empty_like(x) if wants_x else x.new_empty(0), x.new_empty(values.shape if wants_values else 0)


@register_fake("nerfcore::multilinear_touch")
def _(x, links, grad_out, grad_values, touched):
    return None


@register_fake("nerfcore::ngp_loss")
def _(
    table, density, color, scale, resolution, offset, sh_degree, max_log_density, origin, direction, jitter, bits,
    grid_resolution, cascades, step_min, step_max, cone_angle, near, stop_below, max_samples, rays_per_chunk,
    full_from, background, truth, grad_table, touched,
):
    samples = get_ctx().new_dynamic_size()
    per_sample = [origin.new_empty(samples) for _ in range(3)]  # t_start, t_end, weight
    ray_offsets = origin.new_empty(origin.shape[0] + 1, dtype=torch.int64)
    loss = origin.new_empty((), dtype=torch.float64)
    grads = [torch.empty_like(given) for given in (background, truth, *density, *color)]
    return [loss, *per_sample[:2], ray_offsets, per_sample[2], *grads]


@register_fake("nerfcore::ngp_density")
def _(table, density, color, scale, resolution, offset, sh_degree, max_log_density, x):
    return x.new_empty(x.shape[0])


@register_fake("nerfcore::ngp_render")
def _(
    table, density, color, scale, resolution, offset, sh_degree, max_log_density, origin, direction, bits,
    grid_resolution, cascades, step_min, step_max, cone_angle, near, stop_below, max_samples, shows,
):
    return torch.empty_like(origin), *(origin.new_empty(origin.shape[0]) for _ in range(3))


@register_fake("nerfcore::occupancy_choose")
def _(
    density_grid, threshold, resolution, cascades, sweep_start, sweep_length, draw_start, draw_length, seed, capacity
):
    cells = get_ctx().new_dynamic_size() if capacity is None else capacity
    return density_grid.new_empty(cells, dtype=torch.int64), density_grid.new_empty(cells, 3)


@register_fake("nerfcore::occupancy_update")
def _(density_grid, cell_index, density, decay):
    return None


@register_fake("nerfcore::occupancy_pack")
def _(density_grid, threshold):
    return density_grid.new_empty(density_grid.numel() // 8, dtype=torch.uint8)


@register_fake("nerfcore::occupancy_see")
def _(seen, origin, direction, t_start, t_end, ray_offsets, weight, darkest, resolution, cascades):
    return None


@register_fake("nerfcore::pdf_forward")
def _(borders, weights, jitter, num_samples, floor):
    return weights.new_empty(weights.shape[0], num_samples)


@register_fake("nerfcore::spherical_harmonics_forward")
def _(direction, degree):
    return direction.new_empty(direction.shape[0], degree**2)


@register_fake("nerfcore::spherical_harmonics_backward")
def _(direction, degree, grad_out):
    return torch.empty_like(direction)


@register_fake("nerfcore::spherical_harmonics_backward2")
def _(direction, along, degree, grad_out):
    return torch.empty_like(direction), torch.empty_like(grad_out)
