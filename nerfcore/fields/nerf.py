"""NeRF: Mildenhall et al. 2020, sections 3 to 5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from nerfcore.blocks.encoding import frequency_encoding
from nerfcore.fields._networks import draw_matrices
from nerfcore.fields.base import Field, register_field
from nerfcore.ops.composite import composite
from nerfcore.ops.intersect import intersect_box
from nerfcore.ops.pdf import sample_pdf
from nerfcore.types import Samples

FLOOR = 1e-5  # of a bin's weight, as in the paper's code: a part of a ray that looks empty is still looked at
RATE = 1 / 30  # of the trainer's learning rate: 5e-4 at first, as in the paper
GOLDEN = (5**0.5 - 1) / 2
DENSITY = 10.0  # of a neuron's value 1, per side of the box: a fog that light just comes through


class NerfNetwork(nn.Module):
    """The network of the paper's figure 7: ``depth`` layers of ``width`` neurons on γ(x), which come again into the
    middle one, give the density and a feature of the point; it and γ(d), in one layer half as wide, the colour.

    Densities are a softplus, where the paper has a ReLU, which a bad draw leaves dead (Barron et al. 2021, appendix).
    """

    def __init__(self, octaves: int, view_octaves: int, depth: int, width: int):
        super().__init__()
        self.octaves, self.view_octaves, self.again = octaves, view_octaves, depth // 2 + 1
        point, view = 3 * (2 * octaves + 1), 3 * (2 * view_octaves + 1)
        inputs = [point, *(width + point * (i == self.again) for i in range(1, depth))]
        self.point_mlp = nn.ModuleList(nn.Linear(n, width) for n in inputs)
        self.density_mlp, self.feature_mlp = nn.Linear(width, 1), nn.Linear(width, width)
        self.view_mlp = nn.ModuleList([nn.Linear(width + view, width // 2), nn.Linear(width // 2, 3)])

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draws matrices; biases are 0."""
        draw_matrices((p.T for p in self.parameters() if p.ndim == 2), generator)
        for p in self.parameters():
            if p.ndim == 1:
                p.zero_()

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`nerfcore.fields.base.Field.density`."""
        h = x = frequency_encoding(2 * x - 1, self.octaves, with_input=True)
        for i, layer in enumerate(self.point_mlp):
            h = layer(torch.cat((x, h), 1) if i == self.again else h).relu()
        return DENSITY * softplus(self.density_mlp(h)[:, 0] - 1), self.feature_mlp(h)

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        """As :meth:`nerfcore.fields.base.Field.color`."""
        hidden, out = self.view_mlp
        view = frequency_encoding(direction, self.view_octaves, with_input=True)
        # the direction's part of the layer is the same for all points of a ray
        of_point, of_view = hidden.weight.split((embedding.shape[1], view.shape[1]), 1)
        view = linear(view, of_view, hidden.bias)
        view = view if ray_indices is None else view.index_select(0, ray_indices)
        return out((linear(embedding, of_point) + view).relu()).sigmoid()


@register_field("nerf")
class NerfField(Field):
    """Two networks, trained together: the coarse one, at stratified samples, says where the fine one looks besides.

    num_samples: stratified samples of a ray, and those that the coarse network's weights place; (N, 0) for no coarse
    network, and stratified samples alone. octaves, view_octaves: of γ(x) and γ(d). depth, width: of each network.
    """

    marches = False
    presets = {
        "fast": dict(num_samples=(32, 32), depth=4, width=128),
        "default": dict(num_samples=(64, 128), depth=8, width=256),
        "best": dict(num_samples=(64, 128), depth=8, width=256),
    }

    def __init__(
        self,
        num_samples: Sequence[int] = (64, 128),
        octaves: int = 10,
        view_octaves: int = 4,
        depth: int = 8,
        width: int = 256,
        backend: str = "auto",
    ):
        super().__init__()
        stratified, placed = num_samples
        if stratified < 2 or placed < 0:
            raise ValueError(f"a ray needs 2 stratified samples or more and 0 placed ones or more, got {num_samples}")
        shape = dict(octaves=octaves, view_octaves=view_octaves, depth=depth, width=width)
        self.config = dict(num_samples=list(num_samples), **shape)
        self.num_samples, self.samples_per_ray, self.backend = (stratified, placed), stratified + placed, backend
        self.fine = NerfNetwork(**shape)
        self.coarse = NerfNetwork(**shape) if placed else None

    def initialise(self, generator: torch.Generator) -> None:
        for network in (self.fine, self.coarse):
            if network is not None:
                network.initialise(generator)

    def rate(self, name: str) -> float:
        return RATE

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.fine.density(x)

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        return self.fine.color(embedding, direction, ray_indices)

    def place_samples(self, origin, direction, jitter=None):
        """Section 5.2: stratified samples, and between them those that the coarse network's weights ask for.

        The one random number of a ray is another one for each of its bins, by steps of the golden ratio.
        """
        stratified, placed = self.num_samples
        corners = origin.new_zeros(3), origin.new_ones(3)
        ends = torch.stack(intersect_box(origin, direction, *corners, backend=self.backend), 1)
        if jitter is not None:
            jitter = (jitter[:, None] + GOLDEN * torch.arange(stratified - 1, device=jitter.device)) % 1
        between = sample_pdf(ends, torch.ones_like(ends[:, :1]), stratified - 1, jitter, backend=self.backend)
        border = torch.cat([ends[:, :1], between, ends[:, 1:]], 1)
        if self.coarse is None:
            return tiles(border), None
        samples = tiles(border)
        rgb, opacity, weights = self._rendered_coarsely(origin, direction, samples)
        shares, jitter = weights.detach().view(len(origin), stratified), None if jitter is None else jitter[:, 0]
        asked = sample_pdf(border, shares, placed, jitter, FLOOR, backend=self.backend)
        return tiles(torch.cat([border, asked], 1).sort(1).values), (rgb, opacity)

    def proposal_loss(self, proposed, weights, background, truth, backend="auto"):
        """The coarse network's term of equation 6."""
        if proposed is None:
            return weights.new_zeros(())
        rgb, opacity = proposed
        return (rgb + (1 - opacity[:, None]) * background - truth).square().mean()

    def step_bytes(self, samples, max_samples_per_ray, threads):
        stratified, placed = self.num_samples
        looks = samples + (samples * stratified // (stratified + placed) if placed else 0)
        return super().step_bytes(looks, max_samples_per_ray, threads)

    def _rendered_coarsely(self, origin: Tensor, direction: Tensor, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        """Colour [R, 3] without background, opacity [R] and weights [S] of the coarse network."""
        ray = samples.ray_indices
        x = torch.addcmul(origin.index_select(0, ray), direction.index_select(0, ray), samples.t_mid[:, None])
        sigma, embedding = self.coarse.density(x)
        rgb = self.coarse.color(embedding, direction, ray) if torch.is_grad_enabled() else torch.zeros_like(x)
        rgb, opacity, _, weights = composite(sigma, rgb, samples, backend=self.backend)
        return rgb, opacity, weights


def tiles(border: Tensor) -> Samples:
    """The intervals [R (B - 1)] between borders [R, B] along rays, as samples."""
    rays, count = len(border), border.shape[1] - 1
    offsets = torch.arange(rays + 1, device=border.device) * count
    return Samples(border[:, :-1].reshape(-1), border[:, 1:].reshape(-1), offsets)
