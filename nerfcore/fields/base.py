"""What the renderer asks of a field, and the table of fields that a command or a saved model can name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from nerfcore.errors import NerfcoreError
from nerfcore.types import SampleLattice, Samples, TouchedGradient


class Field(nn.Module):
    """Density and colour over the box [0, 1]³. Subclasses are constructed from a JSON-able ``config`` dict alone.

    ``config`` (attribute): keyword arguments that rebuild the field; a saved model stores it beside the parameters.
    ``surface_density``: of :meth:`sigma` on the surface, where a field knows what that is.
    ``bounded``: nothing lies outside the box. ``has_sky``: it says itself what lies behind everything.
    ``code_features``: numbers of the appearance of a photograph that :meth:`color` and the sky take; 0: none.
    ``marches``: rays march through the occupied cells of the box. A field that does not places their samples itself,
    ``samples_per_ray`` of each.
    ``presets``: its sizes by name, as the constructor takes them; the smaller, the faster a step and the sooner its
    quality ends. ``tables``: names of the parameters [..., C] of which a step meets few rows. ``grows``: names of the
    parameters and buffers whose shapes follow training, and are those of what is loaded.
    """

    config: dict
    surface_density: float | None = None
    bounded = True
    has_sky = False
    code_features: int = 0
    marches = True
    samples_per_ray: int
    presets: Mapping[str, dict] = {"fast": {}, "default": {}, "best": {}}
    tables: tuple[str, ...] = ()
    grows: tuple[str, ...] = ()
    adds_to: Mapping[str, TouchedGradient] = {}  # see adding_to

    def place_samples(self, origin: Tensor, direction: Tensor, jitter: Tensor | None = None) -> tuple[Samples, object]:
        """Of a field that does not march: the samples of box rays (origin, direction [R, 3]), and what
        :meth:`proposal_loss` has to know of how they were placed. jitter [R] in [0, 1) shifts the samples of a ray;
        None in pictures."""
        raise NotImplementedError

    def proposal_loss(
        self, proposed: object, weights: Tensor, background: Tensor, truth: Tensor, backend: str = "auto"
    ) -> Tensor:
        """Of a field that does not march: what teaches it to place samples [S], with these weights [S], of rays that
        see ``truth`` [R, 3] before ``background`` [R, 3]. proposed: of :meth:`place_samples`."""
        raise NotImplementedError

    def sky(self, direction: Tensor) -> Tensor:
        """Of a field that has one: colour [R, 3] of what light meets that nothing has held up, infinitely far along
        unit directions [R, 3]. One that has appearances also takes code [R, code_features], as :meth:`color` does."""
        raise NotImplementedError

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, 3] in [0, 1] -> density [N] >= 0 per unit of box length, and an embedding [N, G] for :meth:`color`."""
        raise NotImplementedError

    def density_along(
        self, x: Tensor, direction: Tensor, ray_indices: Tensor, samples: Samples, spread: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same at the middle x of ``samples`` [N], for light along ``direction`` [R, 3] of the rays ``ray_indices``
        [N], whose pixels are ``spread`` [R] wide at the distance 1: of surfaces it matters from where light comes, and
        what is finer than a pixel is not seen."""
        return self.density(x)

    @torch.no_grad()
    def sigma(self, x: Tensor) -> Tensor:
        """The density alone, not differentiable."""
        return self.density(x)[0]

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        """Colour [N, 3] in [0, 1] seen along ``direction``.

        direction: unit, [N, 3], or [R, 3] with ``ray_indices`` [N] that names the ray of each point. A field that has
        appearances also takes code, which is to direction what another number of features is to 3: of the photograph
        that sees it so, None for the mean of all.
        """
        raise NotImplementedError

    def fused_loss(
        self, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
        truth: Tensor, expected_samples: int, full_from: float = 0.0,
    ) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor | TouchedGradient]] | None:
        """Rendering, mean squared error and gradients as one operation, or None where the field has none as it is.

        Box rays, jitter [R], background, truth [R, 3]; expected_samples: about how many samples these rays will have;
        full_from: see :func:`~nerfcore.ops.composite.fade_gradients`.
        Returns the loss, the samples that light reached, their weights [S], and, by name, the gradient of every
        parameter, and of background and truth where they require one, equal to what
        :func:`~nerfcore.renderer.volume.render_samples` and autograd give.
        """
        return None

    def hold_back(self, gradients: dict[str, Tensor], detail: float) -> None:
        """Clears, in place, the gradient of what is finer than the share ``detail`` in [0, 1] of this field's scales: a
        field that cannot yet draw fine patterns does not explain wrong cameras by them (Lin et al. 2021, BARF). Does
        nothing where a field has no scales."""

    def rate(self, name: str) -> float:
        """How many times the trainer's learning rate the parameter of this name has."""
        return 1.0

    @contextmanager
    def adding_to(self, gradients: Mapping[str, TouchedGradient]) -> Iterator[None]:
        """What is computed within it adds its gradients by ``tables`` to these, as rows, in place, when it comes to its
        backward pass, which says that they are zero: see :func:`~nerfcore.ops.multilinear.multilinear`."""
        before, self.adds_to = self.adds_to, gradients
        try:
            yield
        finally:
            self.adds_to = before

    def regularise(self, gradients: dict[str, Tensor | TouchedGradient], generator: torch.Generator) -> None:
        """Adds, in place, the gradient of what is asked of the field in every step beside matching photographs, such as
        smoothness. Nothing, where that is enough."""

    def grow(self, fraction: float, seen: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> bool:
        """Becomes finer, or loses what nobody sees, if it is time for that after this share of the budget, and says
        whether parameters were replaced by others of the same names.

        seen(): positions [S, 3] and weights [S], batch by batch, of samples of many training rays as the field has them
        now.
        """
        return False

    def most_bytes(self) -> int:
        """Of all parameters together, at most, while they are trained."""
        return sum(p.nbytes for p in self.parameters())

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others) -> None:
        for name in self.grows:
            now, given = getattr(self, name), state.get(prefix + name)
            if given is not None and given.shape[1:][-1:] == now.shape[1:][-1:]:  # as many channels, or none
                fresh = torch.empty_like(given, dtype=now.dtype, device=now.device)
                setattr(self, name, nn.Parameter(fresh) if isinstance(now, nn.Parameter) else fresh)
        super()._load_from_state_dict(state, prefix, *others)

    def step_bytes(self, samples: int, max_samples_per_ray: int, threads: int) -> int:
        """The most memory that one step of training needs beside the parameters, if rays have so many samples in all,
        and each at most so many: here of the modular path, which keeps every intermediate of every sample."""
        widths = sum(sum(p.shape) for name, p in self.named_parameters() if p.ndim == 2 and "mlp" in name)
        return samples * 4 * (64 + 3 * widths)

    def fused_render(
        self, origin: Tensor, direction: Tensor, lattice: SampleLattice, shows: float, stop_below: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Marching, field and compositing as one operation, or None where the field has none as it is.

        Arguments and results as those of :func:`~nerfcore.ops.ngp.ngp_render`.
        """
        return None

    def normal(self, x: Tensor) -> Tensor:
        """Outward unit normals [N, 3]: minus the direction in which the density grows; zero where it is flat."""
        return -torch.nn.functional.normalize(derivative(lambda x: self.density(x)[0], x), dim=-1)


def derivative(of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """[N, 3]: how numbers [N], each of one point [N, 3], change with it. Not differentiable again."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(of(x).sum(), x)[0]


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
