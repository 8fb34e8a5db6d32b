"""A field in a box, and what is seen behind it: a sphere at infinity whose colours are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerfcore.fields._around import FieldAround
from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp


@register_field("backdrop")
class BackdropField(FieldAround):
    """Any field of the box before a learned sphere: where light comes through the box, its direction alone says its
    colour (as in Zhang et al. 2020, NeRF++, if all that is outside were infinitely far).

    What is outside but near enough to shift against the distance from photograph to photograph no sphere explains; a
    scene of which much is there wants contracted space. inner, inner_config: the field of the box. hidden, levels and
    table of the sphere: a hash grid over the unit sphere, coarsest and finest cells along its diameter.
    """

    def __init__(
        self,
        inner: str = "ngp",
        inner_config: dict | None = None,
        num_levels: int = 8,
        log2_table: int = 13,
        coarsest: int = 4,
        finest: int = 256,
        hidden: int = 32,
        backend: str = "auto",
    ):
        super().__init__(inner, inner_config, backend)
        shape = dict(num_levels=num_levels, log2_table=log2_table, coarsest=coarsest, finest=finest)
        self.config = dict(inner=inner, inner_config=self.inner.config, **shape, hidden=hidden)
        self.levels, self.backend = HashGridLevels(3, features=2, **shape), backend
        self.sky_table = nn.Parameter(torch.zeros(self.levels.num_entries, self.levels.features))
        self.sky_mlp = matrices(self.levels.out_features, hidden, 3)

    @property
    def marches(self):
        return self.inner.marches

    @property
    def surface_density(self):
        return self.inner.surface_density

    @property
    def samples_per_ray(self):
        return self.inner.samples_per_ray

    def initialise(self, generator: torch.Generator) -> None:
        self.inner.initialise(generator)
        draw(self.sky_table, self.sky_mlp, generator)

    def sky(self, direction: Tensor, code: Tensor | None = None) -> Tensor:
        """One and the same in every appearance."""
        encoded = hash_grid(0.5 + 0.5 * direction, self.sky_table, self.levels, backend=self.backend)
        return mlp(encoded, list(self.sky_mlp), "sigmoid", backend=self.backend)

    def fused_loss(self, origin, direction, lattice, jitter, background, truth, expected_samples, full_from=0.0):
        """The sphere is the background of the inner field's rays, and learns from what they say of it."""
        sky = self.sky(direction)
        behind = sky.detach().requires_grad_()
        batch = origin, direction, lattice, jitter, behind, truth, expected_samples, full_from
        if (fused := self.inner.fused_loss(*batch)) is None:
            return None
        loss, samples, weights, gradients = fused
        own = self.own_parameters()
        of_sky = torch.autograd.grad(sky, own.values(), gradients.pop("background"))
        of_truth = {"truth": gradients.pop("truth")} if truth.requires_grad else {}
        of_inner = {f"inner.{name}": g for name, g in gradients.items()}
        return loss, samples, weights, of_truth | of_inner | dict(zip(own, of_sky, strict=True))

    # All else is the inner field's.

    def place_samples(self, origin, direction, jitter=None):
        return self.inner.place_samples(origin, direction, jitter)

    def proposal_loss(self, proposed, weights, background, truth, backend="auto"):
        return self.inner.proposal_loss(proposed, weights, background, truth, backend)

    def density(self, x):
        return self.inner.density(x)

    def density_along(self, x, direction, ray_indices, samples, spread=None):
        return self.inner.density_along(x, direction, ray_indices, samples, spread)

    def sigma(self, x):
        return self.inner.sigma(x)

    def color(self, embedding, direction, ray_indices=None, **code):
        return self.inner.color(embedding, direction, ray_indices, **code)

    def normal(self, x):
        return self.inner.normal(x)

    def step_bytes(self, samples, max_samples_per_ray, threads):
        return self.inner.step_bytes(samples, max_samples_per_ray, threads)

    def fused_render(self, origin, direction, lattice, shows, stop_below):
        return self.inner.fused_render(origin, direction, lattice, shows, stop_below)
