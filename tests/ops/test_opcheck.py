"""What torch demands of a compiled operation: a true schema, a fake, and tracing by torch.compile."""

from __future__ import annotations

import pytest
import torch

from nerfcore.ops._dispatch import use_kernel
from nerfcore.ops.hash_grid import HashGridLevels
from nerfcore.ops.marching_cubes import kernel_table

LEVELS = HashGridLevels(num_levels=3, log2_table=8, coarsest=4, finest=16)
ON_CPU_ALONE = ("bvh_build", "mlp_forward", "mlp_backward", "ngp_loss", "ngp_density", "ngp_render")
NOT_TRACED = ("ngp_loss",)  # it writes in place and returns a list, which torch.compile does not take together


class Inputs:
    """Random tensors, always the same, of the sizes that the operations share."""

    def __init__(self, device):
        self.device = device
        self.generator = torch.Generator().manual_seed(0)
        self.offsets = torch.tensor([0, 4, 4, 13], device=device)

    def rand(self, *shape):
        return torch.rand(shape, generator=self.generator).to(self.device)

    def long(self, *values):
        return torch.tensor(values, device=self.device)

    @property
    def samples(self):
        """t_start, t_end and ray_offsets of three rays; the last two samples belong to none."""
        return self.rand(15), 1 + self.rand(15), self.offsets

    @property
    def rays(self):
        return self.rand(3, 3), torch.nn.functional.normalize(self.rand(3, 3), dim=-1)

    @property
    def bits(self):
        return torch.full((16**3 // 8,), 255, dtype=torch.uint8, device=self.device)

    @property
    def scales(self):
        return self.rand(2).double()

    @property
    def grid(self):
        return LEVELS.scale, LEVELS.resolution, LEVELS.offset

    @property
    def table(self):
        return self.rand(LEVELS.num_entries, LEVELS.features)

    @property
    def field(self):
        """Arguments of a whole field: hash grid, density to 4 values, colour from these and one spherical harmonic."""
        density, color = [self.rand(6, 8), self.rand(8, 4)], [self.rand(5, 8), self.rand(8, 3)]
        return self.table, density, color, *self.grid, 1, 10.0


def adam_touched(i: Inputs, copy=None):
    touched = torch.ones(5, dtype=torch.uint8, device=i.device)
    return i.rand(5, 2), i.rand(5, 2), touched, i.rand(5, 2), i.rand(5, 2), copy, i.scales, 0.9, 0.99, 1e-8


def bvh_tree(i: Inputs):
    corners = i.rand(9, 3, 3)
    box, link, order = (t.to(i.device) for t in torch.ops.nerfcore.bvh_build(corners.cpu()))
    return corners[order], box, link


def composite_backward(i: Inputs, *grads):
    return i.rand(15, 3), *i.samples, i.rand(15), i.rand(15), *grads


def march_forward(i: Inputs, capacity):
    near_far = torch.zeros(3, device=i.device), torch.ones(3, device=i.device)
    return *i.rays, *near_far, i.bits, i.rand(3), 16, 1, 0.1, 0.1, 0.0, 64, capacity


def ngp_lattice(i: Inputs):
    return i.bits, 16, 1, 0.1, 0.1, 0.0, 0.0, 1e-4, 64


def ngp_loss(i: Inputs):
    touched = torch.zeros(LEVELS.num_entries, dtype=torch.uint8, device=i.device)
    images = i.rand(3, 3), i.rand(3, 3)  # background, truth
    return *i.field, *i.rays, i.rand(3), *ngp_lattice(i), 64, 0.5, *images, torch.zeros_like(i.table), touched


def grids(i: Inputs):
    """x, values and, of the second, links: two planes, and a space with gaps."""
    links = torch.arange(24, dtype=torch.int32, device=i.device).view(2, 3, 4) - 3
    return (i.rand(2, 7, 2), i.rand(2, 3, 4, 5), None), (i.rand(1, 7, 3), i.rand(20, 5), links)


def mlp_backward(i: Inputs, wants_x):
    x, weights = i.rand(7, 6), [i.rand(6, 8), i.rand(8, 4)]
    out, hidden = torch.ops.nerfcore.mlp_forward(x, weights, 0, 0, True)
    return x, weights, hidden, out, i.rand(7, 4), 0, 0, wants_x


def multilinear_touch(i: Inputs):
    x, values, links = grids(i)[1]
    return x, links, i.rand(1, 7, 5), torch.zeros_like(values), torch.zeros(20, dtype=torch.uint8, device=i.device)


CASES = {
    "adam": [lambda i: (i.rand(5), i.rand(5), i.rand(5), i.rand(5), i.scales, 0.9, 0.99, 1e-8)],
    "adam_touched": [adam_touched, lambda i: adam_touched(i, i.rand(5, 2).half())],
    "bvh_build": [lambda i: (i.rand(9, 3, 3),)],
    "bvh_nearest": [
        lambda i: (*bvh_tree(i), i.rand(7, 3), None),
        lambda i: (*bvh_tree(i), i.rand(7, 3), i.rand(7)),
    ],
    "bvh_winding": [lambda i: (*(tree := bvh_tree(i)), i.rand(len(tree[2]), 7), i.rand(7, 3), 2.0)],
    "bvh_first_hit": [lambda i: (*bvh_tree(i), *i.rays, 4 * i.rand(3))],
    "bvh_any_hit": [lambda i: (*bvh_tree(i), *i.rays, 4 * i.rand(3))],
    "composite_forward": [lambda i: (i.rand(15), i.rand(15, 3), *i.samples, 1e-4)],
    "composite_backward": [
        lambda i: composite_backward(i, i.rand(3, 3), i.rand(3), i.rand(3), i.rand(15)),
        lambda i: composite_backward(i, None, None, None, i.rand(15)),
    ],
    "distortion_forward": [lambda i: (i.rand(15), *i.samples)],
    "distortion_backward": [lambda i: (i.rand(15), *i.samples, i.rand(3))],
    "hash_grid_forward": [
        lambda i: (i.rand(7, 3), None, i.table, *i.grid, False),
        lambda i: (i.rand(7, 3), i.rand(7, 3), i.table.half(), *i.grid, True),
    ],
    "hash_grid_backward": [
        lambda i: (i.rand(7, 3), None, i.table, i.rand(7, 6), *i.grid, False, True, True, True),
        lambda i: (i.rand(7, 3), i.rand(7, 3), i.table.half(), i.rand(7, 6), *i.grid, True, False, True, False),
    ],
    "interlevel_forward": [lambda i: (i.rand(15), *i.samples, i.rand(15), *i.samples)],
    "interlevel_backward": [lambda i: (i.rand(15), *i.samples, i.rand(15), *i.samples, i.rand(3))],
    "intersect_forward": [lambda i: (*i.rays, i.rand(3) - 1, i.rand(3) + 1, 0.0, 4.0)],
    "march_forward": [lambda i: march_forward(i, None), lambda i: march_forward(i, 20)],
    "marching_cubes": [lambda i: (i.rand(4, 5, 6), 0.5, kernel_table().to(i.device))],
    "mlp_forward": [
        lambda i: (i.rand(96, 6), [i.rand(6, 16), i.rand(16, 4)], 0, 0, True),  # a whole tile: the rest of one is not written
        lambda i: (i.rand(7, 6), [i.rand(6, 8), i.rand(8, 4)], 1, 0, False),
    ],
    "mlp_backward": [lambda i: mlp_backward(i, True), lambda i: mlp_backward(i, False)],
    "multilinear_forward": [
        lambda i: (grids(i)[0][0], None, *grids(i)[0][1:]),
        lambda i: (grids(i)[1][0], i.rand(1, 7, 3), *grids(i)[1][1:]),
    ],
    "multilinear_backward": [
        lambda i: (grids(i)[0][0], None, *grids(i)[0][1:], i.rand(2, 7, 5), True, True),
        lambda i: (grids(i)[1][0], i.rand(1, 7, 3), *grids(i)[1][1:], i.rand(1, 7, 5), False, True),
    ],
    "multilinear_touch": [multilinear_touch],
    "ngp_loss": [ngp_loss],
    "ngp_density": [lambda i: (*i.field, i.rand(7, 3))],
    "ngp_render": [lambda i: (*i.field, *i.rays, *ngp_lattice(i), 0.0)],
    "occupancy_choose": [
        lambda i: (i.rand(512), i.rand(), 8, 1, 0, 2**31, 0, 2**32, 3, None),
        lambda i: (i.rand(512), i.rand(), 8, 1, 0, 2**31, 0, 2**32, 3, 400),
    ],
    "occupancy_update": [lambda i: (i.rand(512), i.long(3, 7, 9), i.rand(3), 0.95)],
    "occupancy_pack": [lambda i: (i.rand(512), i.rand())],
    "occupancy_see": [
        lambda i: (torch.zeros(64, dtype=torch.bool, device=i.device), *i.rays, *i.samples, i.rand(15), 1e-3, 4, 1)
    ],
    "pdf_forward": [lambda i: (i.rand(3, 6).cumsum(1), i.rand(3, 5), None, 4, 1e-5)],
    "spherical_harmonics_forward": [lambda i: (i.rays[1], 4)],
    "spherical_harmonics_backward": [lambda i: (i.rays[1], 4, i.rand(3, 16))],
    "spherical_harmonics_backward2": [lambda i: (i.rays[1], i.rand(3, 3), 4, i.rand(3, 16))],
}


@pytest.mark.parametrize(
    "name, inputs", [pytest.param(name, case, id=name) for name, cases in CASES.items() for case in cases]
)
def test_an_operation_keeps_the_contract_of_torch(backend, device, name, inputs):
    if backend == "reference" or (backend == "cuda" and name in ON_CPU_ALONE):
        pytest.skip("no kernel")
    assert use_kernel(backend, torch.zeros(1, device=device))  # loads the kernels and their fakes
    checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    if name in NOT_TRACED:
        checks.pop()
    torch.library.opcheck(getattr(torch.ops.nerfcore, name).default, inputs(Inputs(device)), test_utils=checks)


def test_no_operation_is_forgotten(kernels):
    registered = {name.removeprefix("nerfcore::") for name in torch._C._dispatch_get_all_op_names() if name.startswith("nerfcore::")}
    assert registered == set(CASES)
