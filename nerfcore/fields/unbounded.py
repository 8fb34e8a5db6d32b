"""A field of all space: contraction and proposal sampling, Barron et al. 2022, sections 2 to 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.fields._around import FieldAround
from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import register_field
from nerfcore.fields.ngp import MAX_LOG_DENSITY
from nerfcore.ops.composite import composite
from nerfcore.ops.distortion import distortion
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.interlevel import interlevel
from nerfcore.ops.mlp import mlp
from nerfcore.ops.pdf import sample_pdf
from nerfcore.types import Samples

FAR = 1000.0  # where rays end, in sides of the core
EVEN_SHARE = 0.1
"""Of the samples of a round, spread evenly: space that a proposal has given up is looked at again."""

DISTORTION_WEIGHT = 0.01  # as in Barron et al. 2022


def reach(x: Tensor) -> Tensor:
    """[N, 1]: how many times farther than the cube [0, 1]³ points [N, 3] lie from its middle; 1 inside."""
    return (2 * x - 1).abs().amax(-1, keepdim=True).clamp(min=1)


def contract(x: Tensor) -> Tensor:
    """All of space in the box [0, 1]³ (Barron et al. 2022, equation 10): the cube [0, 1]³ becomes its middle half, and
    what lies around it the shell that is left, the farther the denser.

    With u = 2 x - 1 and r its largest coordinate: u where r <= 1, else ``(2 - 1 / r) u / r``, then halved to the box.
    The paper takes the Euclidean norm, whose image is a ball; this one leaves no corner of a hash grid unused.
    x [N, 3] -> [N, 3]. Differentiable in x; the derivative jumps where the largest coordinate changes.

    >>> contract(torch.tensor([[0.5, 0.5, 1.0], [0.5, 0.5, 2.5]]))[:, 2].tolist()  # the cube's face; four times as far
    [0.75, 0.9375]
    """
    r = reach(x)
    return 0.5 + (0.5 * x - 0.25) * (2 - 1 / r) / r


def to_bounded(t: Tensor) -> Tensor:
    """Distances t >= 0 as numbers from 0 to 1, even up to t = 1, then even in 1 / t: as `contract` has them along a ray
    from the middle."""
    return torch.where(t < 1, 0.5 * t, 1 - 0.5 / t.clamp(min=1))


def from_bounded(s: Tensor) -> Tensor:
    """Inverse of `to_bounded`."""
    return torch.where(s < 0.5, 2 * s, 0.5 / (1 - s).clamp(max=0.5))


class Proposal(nn.Module):
    """A small density, which says where the weights of a ray may lie: hash grid and one hidden layer of 16."""

    def __init__(self, finest: int, backend: str = "auto"):
        super().__init__()
        self.levels = HashGridLevels(num_levels=5, features=2, log2_table=15, coarsest=16, finest=finest)
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, self.levels.features))
        self.density_mlp = matrices(self.levels.out_features, 16, 1)
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """Density [N] at points [N, 3] of the box."""
        encoded = hash_grid(x, self.table, self.levels, backend=self.backend)
        logarithm = mlp(encoded, list(self.density_mlp), backend=self.backend)[:, 0]
        return torch.exp(logarithm.clamp(max=MAX_LOG_DENSITY))


@register_field("unbounded")
class UnboundedField(FieldAround):
    """Any other field in contracted space, with proposals that say where rays have their samples.

    inner, inner_config: the field that is contracted. core, middle: side and middle of the cube that keeps its shape,
    in box coordinates. near: where the samples of a ray begin, in sides of the core. num_samples: of a ray in each
    round: what a round finds proposes where the next one samples, and the last is the inner field's. proposal_finest:
    resolution of each proposal's finest level.

    Rays stay straight and distances what they are; densities are per unit of the box. The inner field and the proposals
    have them per unit of contracted space, so that a field that knows nothing yet is a fog through which what is far
    can be seen.
    """

    bounded = marches = False

    def __init__(
        self,
        inner: str = "ngp",
        inner_config: dict | None = None,
        core: float = 1.0,
        middle: Sequence[float] = (0.5, 0.5, 0.5),
        near: float = 0.05,
        num_samples: Sequence[int] = (64, 32, 24),
        proposal_finest: Sequence[int] = (128, 512),
        backend: str = "auto",
    ):
        super().__init__(inner, inner_config, backend)
        if len(proposal_finest) != len(num_samples) - 1 or min(num_samples) < 2:
            raise ValueError(
                f"every round but the last has a proposal, and every round at least 2 samples a ray, got "
                f"num_samples={list(num_samples)}, proposal_finest={list(proposal_finest)}"
            )
        self.config = dict(
            inner=inner, inner_config=self.inner.config, core=core, middle=list(middle), near=near,
            num_samples=list(num_samples), proposal_finest=list(proposal_finest),
        )
        self.proposals = nn.ModuleList(Proposal(finest, backend=backend) for finest in proposal_finest)
        self.core, self.num_samples, self.backend = core, tuple(num_samples), backend
        self.samples_per_ray = self.num_samples[-1]
        self.register_buffer("middle", torch.tensor(middle), persistent=False)
        self.ends = tuple(to_bounded(torch.tensor([near, FAR])).tolist())

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters of all parts."""
        self.inner.initialise(generator)
        for proposal in self.proposals:
            draw(proposal.table, proposal.density_mlp, generator)

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, per_unit = self._contracted(x)
        sigma, embedding = self.inner.density(x)
        return sigma * per_unit, embedding

    def sigma(self, x: Tensor) -> Tensor:
        x, per_unit = self._contracted(x)
        return self.inner.sigma(x) * per_unit

    def _contracted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points [N, 3] of the box, or outside it, where the inner field and the proposals have them; and how long
        there [N] is what is one unit of the box here, away from the core's middle."""
        x = (x - self.middle) / self.core + 0.5
        return contract(x), 0.5 / self.core / reach(x).squeeze(1).square()

    def color(self, embedding, direction, ray_indices=None, **code):
        return self.inner.color(embedding, direction, ray_indices, **code)

    def sky(self, direction, **code):
        _, embedding = self.inner.density(0.5 + 0.5 * direction / direction.abs().amax(-1, keepdim=True))
        return self.inner.color(embedding, direction, **code)

    def place_samples(self, origin, direction, jitter=None):
        samples, proposed = self.propose(origin, direction, jitter)
        return self.in_box(samples), (samples, proposed)

    def proposal_loss(self, proposed, weights, background, truth, backend="auto"):
        """Weights that no proposal explains, and their distortion (Barron et al. 2022, equation 16)."""
        samples, earlier = proposed
        unexplained = sum(interlevel(weights, samples, *one, backend=backend).mean() for one in earlier)
        return unexplained + DISTORTION_WEIGHT * distortion(weights, samples, backend=backend).mean()

    def propose(
        self, origin: Tensor, direction: Tensor, jitter: Tensor | None = None
    ) -> tuple[Samples, list[tuple[Tensor, Samples]]]:
        """The samples of box rays, and those of each proposal with their weights, which are differentiable.

        jitter [R] in [0, 1) shifts the samples of a ray; None for 0.5. Samples are in the variable of `to_bounded` and
        tile a ray from its beginning to its end; :meth:`in_box` makes distances of them.
        """
        rays = len(origin)
        first, last = (origin.new_full((rays, 1), end) for end in self.ends)
        border, share, proposed = torch.cat([first, last], 1), origin.new_ones(rays, 1), []
        for proposal, count in zip([*self.proposals, None], self.num_samples, strict=True):
            floor = EVEN_SHARE / share.shape[1]
            between = sample_pdf(border, share, count - 1, jitter, floor, backend=self.backend)
            border = torch.cat([first, between, last], 1)
            offsets = torch.arange(rays + 1, device=origin.device) * count
            samples = Samples(border[:, :-1].reshape(-1), border[:, 1:].reshape(-1), offsets)
            if proposal is not None:
                weights = self._weights(proposal, origin, direction, samples)
                share = weights.detach().view(rays, count)
                proposed.append((weights, samples))
        return samples, proposed

    def in_box(self, samples: Samples) -> Samples:
        """Samples in the variable of `to_bounded` as distances along rays, in units of the box."""
        start, end = (self.core * from_bounded(s) for s in (samples.t_start, samples.t_end))
        return Samples(start, end, samples.ray_offsets)

    def _weights(self, proposal: Proposal, origin: Tensor, direction: Tensor, samples: Samples) -> Tensor:
        samples = self.in_box(samples)
        t = samples.t_mid.view(len(origin), -1, 1)
        x, per_unit = self._contracted((origin[:, None] + t * direction[:, None]).view(-1, 3))
        return composite(proposal(x) * per_unit, torch.zeros_like(x), samples, backend=self.backend)[3]

    def grow(self, fraction, seen):
        return self.inner.grow(fraction, lambda: ((self._contracted(x)[0], weights) for x, weights in seen()))

    def step_bytes(self, samples, max_samples_per_ray, threads):
        return super().step_bytes(samples * sum(self.num_samples) // self.num_samples[-1], max_samples_per_ray, threads)
