"""What the renderer asks of a field, and the table of fields that a command or a saved model can name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from nerfcore.errors import NerfcoreError
from nerfcore.types import SampleLattice, Samples, TouchedGradient


class Field(nn.Module):
    """Density and colour over the box [0, 1]³. Subclasses are constructed from a JSON-able ``config`` dict alone.

    ``config`` (attribute): keyword arguments that rebuild the field; a saved model stores it beside the parameters.
    ``bounded``: nothing lies outside the box, and rays march through the occupied cells inside. A field that is not
    says itself where rays have their samples, and what lies behind everything.
    """

    config: dict
    bounded = True

    def place_samples(self, origin: Tensor, direction: Tensor) -> Samples:
        """Of a field that is not bounded: the samples of box rays (origin, direction [R, 3]) in a picture."""
        raise NotImplementedError

    def sky(self, direction: Tensor) -> Tensor:
        """Of a field that is not bounded: colour [R, 3] of what light meets that nothing has held up, infinitely far
        along unit directions [R, 3]."""
        raise NotImplementedError

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, 3] in [0, 1] -> density [N] >= 0 per unit of box length, and an embedding [N, G] for :meth:`color`."""
        raise NotImplementedError

    @torch.no_grad()
    def sigma(self, x: Tensor) -> Tensor:
        """The density alone, not differentiable."""
        return self.density(x)[0]

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        """Colour [N, 3] in [0, 1] seen along ``direction``.

        direction: unit, [N, 3], or [R, 3] with ``ray_indices`` [N] that names the ray of each point.
        """
        raise NotImplementedError

    def fused_loss(
        self, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
        truth: Tensor, expected_samples: int, full_from: float = 0.0,
    ) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor | TouchedGradient]] | None:
        """Rendering, mean squared error and gradients as one operation, or None where the field has none as it is.

        Box rays, jitter [R], background, truth [R, 3]; expected_samples: about how many samples these rays will have;
        full_from: see :func:`~nerfcore.ops.composite.fade_gradients`.
        Returns the loss, the samples that light reached, their weights [S], and the gradient of every parameter by
        name, equal to what :func:`~nerfcore.renderer.volume.render_samples` and autograd give.
        """
        return None

    def hold_back(self, gradients: dict[str, Tensor], detail: float) -> None:
        """Clears, in place, the gradient of what is finer than the share ``detail`` in [0, 1] of this field's scales: a
        field that cannot yet draw fine patterns does not explain wrong cameras by them (Lin et al. 2021, BARF). Does
        nothing where a field has no scales."""

    def step_bytes(self, samples: int, max_samples_per_ray: int, threads: int) -> int:
        """The most memory that one step of training needs beside the parameters, if rays have so many samples in all,
        and each at most so many: here of the modular path, which keeps every intermediate of every sample."""
        widths = sum(sum(p.shape) for name, p in self.named_parameters() if p.ndim == 2 and "mlp" in name)
        return samples * 4 * (64 + 3 * widths)

    def fused_render(
        self, origin: Tensor, direction: Tensor, lattice: SampleLattice, shows: float, stop_below: float
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Marching, field and compositing as one operation, or None where the field has none as it is.

        Arguments and results as those of :func:`~nerfcore.ops.ngp.ngp_render`.
        """
        return None

    def normal(self, x: Tensor) -> Tensor:
        """Outward unit normals [N, 3]: minus the direction in which the density grows; zero where it is flat."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.density(x)[0].sum(), x)
        return -torch.nn.functional.normalize(gradient, dim=-1)


FIELDS: dict[str, type[Field]] = {}


def field_named(name: str) -> type[Field]:
    """The field that a command or a saved model names. Its file, which has the same name, is imported at first use:
    what is measured of one field does not hang on the sources of the others. Raises NerfcoreError where there is no
    such field."""
    present = {path.stem for path in Path(__file__).parent.glob("[!_]*.py")} - {"base"}
    if name in present:
        import_module(f"nerfcore.fields.{name}")
    if name not in FIELDS:
        raise NerfcoreError(f"there is no field {name!r}; choose {', '.join(sorted(present))}")
    return FIELDS[name]


def register_field(name: str):
    """Class decorator that gives a field its name in ``--field`` and in saved models."""

    def add(cls):
        FIELDS[name] = cls
        cls.name = name
        return cls

    return add
