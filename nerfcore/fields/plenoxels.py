"""Plenoxels: Fridovich-Keil et al. 2022. A sparse grid of voxels, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nerfcore.fields._grids import add_smoothness, density_of, growing_sizes, neighbours_of, some_rows
from nerfcore.fields.base import Field, register_field
from nerfcore.ops.multilinear import multilinear
from nerfcore.ops.spherical_harmonics import spherical_harmonics

FINEST_AT, LAST_PRUNED_AT = 0.3, 0.6  # shares of the budget
MIN_WEIGHT = 5e-3  # a voxel that stops less of the light of every ray,
MIN_DENSITY = 3.0  # or is thinner than this, per unit of the box, is left out, unless a neighbour is not
MOST_KEPT = 0.2  # of the voxels of the finest grid, as a bound of its memory


@register_field("plenoxels")
class PlenoxelsField(Field):
    """Values at the corners of voxels, interpolated: a density, and for each colour the coefficients of spherical
    harmonics in the view direction, whose sum goes through a sigmoid. Few corners hold something; which row of the
    tables is whose, ``links`` say.

    resolution: corners along each axis of the finest grid; coarsest: of the first one, which has no gaps. Each time
    the grid becomes finer, about twofold, what no ray sees or what is thin is left out first. sh_degree: bands of
    spherical harmonics. smooth_density, smooth_color: weights of the total variation.
    """

    presets = {"fast": dict(resolution=128), "default": dict(resolution=256), "best": dict(resolution=384)}
    tables = ("held", "coefficients")
    grows = ("held", "coefficients", "corners")

    def __init__(
        self,
        resolution: int = 256,
        coarsest: int = 64,
        sh_degree: int = 3,
        smooth_density: float = 1e-4,
        smooth_color: float = 2.5e-5,
        backend: str = "auto",
    ):
        super().__init__()
        if not 2 <= coarsest <= resolution:
            raise ValueError(f"coarsest must be from 2 to resolution={resolution}, got {coarsest}")
        self.config = dict(
            resolution=resolution, coarsest=coarsest, sh_degree=sh_degree, smooth_density=smooth_density,
            smooth_color=smooth_color,
        )
        self.sh_degree, self.backend = sh_degree, backend
        self.smooth = dict(held=smooth_density, coefficients=smooth_color)
        sizes = growing_sizes(coarsest, resolution)
        self.sizes = [*sizes, resolution]  # after the last one nothing becomes finer
        self.shares = [FINEST_AT * i / max(len(sizes) - 1, 1) for i in range(len(sizes))] + [LAST_PRUNED_AT]
        self.stage = 0
        self.held = nn.Parameter(torch.zeros(coarsest**3, 1))
        self.coefficients = nn.Parameter(torch.zeros(coarsest**3, 3 * sh_degree**2))
        self.register_buffer("corners", torch.arange(coarsest**3))  # of each row, its place among all corners
        self.register_buffer("links", torch.empty(0), persistent=False)
        self._link(coarsest)

    def initialise(self, generator: torch.Generator) -> None:
        """Nothing is drawn: the grid begins as a thin grey fog."""

    def rate(self, name):
        """Adam's steps are as long as the rate: held values reach from 0 to about 15, coefficients to about 10."""
        return 10.0 if name == "held" else 3.0

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding is the point: the colour has its own table, which is read only where it shows."""
        held = multilinear(x, self.held, self.links, self.backend, self.adds_to.get("held"))
        return density_of(held[:, 0]), x

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        basis = spherical_harmonics(direction, self.sh_degree, backend=self.backend)
        if ray_indices is not None:
            basis = basis.index_select(0, ray_indices)
        adds_to = self.adds_to.get("coefficients")
        coefficients = multilinear(embedding, self.coefficients, self.links, self.backend, adds_to)
        return torch.sigmoid((coefficients.view(-1, 3, basis.shape[1]) * basis[:, None]).sum(-1))

    def regularise(self, gradients, generator):
        """Total variation, over a few voxels: section 3.4."""
        rows = some_rows(len(self.corners), generator)
        links, neighbours = self.links.flatten(), []
        for corner in neighbours_of(self.corners[rows], self.links.shape):
            row = links[corner].long()
            neighbours.append(torch.where(row < 0, rows, row))
        for name, weight in self.smooth.items():
            if weight:
                add_smoothness(gradients[name], self.get_parameter(name).detach(), rows, neighbours, weight)

    def grow(self, fraction, seen):
        if self.stage + 1 == len(self.sizes) or fraction < self.shares[self.stage + 1]:
            return False
        self.stage += 1
        self.prune(seen)
        if self.sizes[self.stage] > len(self.links):
            self.refine(self.sizes[self.stage])
        return True

    @torch.no_grad()
    def prune(self, seen: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> None:
        """Leaves out the voxels that, with all their neighbours, are thin or stop little of any ray's light: section
        3.2. seen: as of :meth:`grow`. Does nothing where that would be all."""
        n = len(self.links)
        weight, density = self.held.new_zeros(2, n**3)
        for x, weights in seen():
            i, j, k = (x.clamp(0, 1) * (n - 1)).round().long().unbind(1)
            weight.scatter_reduce_(0, (i * n + j) * n + k, weights, "amax")
        density[self.corners] = density_of(self.held[:, 0])
        stays = with_neighbours(((weight >= MIN_WEIGHT) & (density >= MIN_DENSITY)).view(n, n, n)).flatten()
        rows = stays[self.corners].nonzero().squeeze(1)
        if len(rows):
            self._replace(self.corners[rows], n, self.held[rows], self.coefficients[rows])

    @torch.no_grad()
    def refine(self, resolution: int) -> None:
        """A grid of so many corners along each axis: corners are there if the nearest one was, with the values that
        the grid had in their places."""
        nearest = torch.linspace(0, len(self.links) - 1, resolution, device=self.links.device).round().long()
        there = self.links >= 0
        for axis in range(3):
            there = there.index_select(axis, nearest)
        x = there.nonzero().to(self.held) / (resolution - 1)
        values = (multilinear(x, table, self.links, self.backend) for table in (self.held, self.coefficients))
        self._replace(there.flatten().nonzero().squeeze(1), resolution, *values)

    @property
    def num_voxels(self) -> int:
        """How many corners hold something."""
        return len(self.corners)

    def _replace(self, corners: Tensor, resolution: int, held: Tensor, coefficients: Tensor) -> None:
        self.corners, self.held, self.coefficients = corners, nn.Parameter(held), nn.Parameter(coefficients)
        self._link(resolution)

    def _link(self, resolution: int) -> None:
        links = torch.full((resolution**3,), -1, dtype=torch.int32, device=self.corners.device)
        links[self.corners] = torch.arange(len(self.corners), dtype=torch.int32, device=links.device)
        self.links = links.view(resolution, resolution, resolution)

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.stage, len(self.links)])

    def set_extra_state(self, state: Tensor) -> None:
        self.stage, resolution = state.tolist()
        self._link(resolution)

    def most_bytes(self):
        voxels = max(self.num_voxels, int(MOST_KEPT * self.config["resolution"] ** 3))
        return voxels * 4 * (1 + self.coefficients.shape[1])

    def step_bytes(self, samples, max_samples_per_ray, threads):
        return super().step_bytes(samples, max_samples_per_ray, threads) + samples * 4 * 6 * self.coefficients.shape[1]


def with_neighbours(there: Tensor) -> Tensor:
    """bool [X, Y, Z]: what is there, and what touches it, at a corner too."""
    for axis in range(3):
        n, spread = there.shape[axis], there.clone()
        spread.narrow(axis, 1, n - 1).logical_or_(there.narrow(axis, 0, n - 1))
        spread.narrow(axis, 0, n - 1).logical_or_(there.narrow(axis, 1, n - 1))
        there = spread
    return there
