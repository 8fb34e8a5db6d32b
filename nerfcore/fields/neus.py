"""NeuS on a hash grid: a signed distance whose zero set stops light (Wang et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, normalize, softplus

from nerfcore.fields._networks import matrices
from nerfcore.fields.base import Field, register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp
from nerfcore.ops.spherical_harmonics import spherical_harmonics

FEATURES = 15  # of a point, beside its distance, for its colour
SOFTNESS = 100.0  # of softplus, as in the paper's code: nearly a ReLU, with a curvature
SOFT = 20.0 / SOFTNESS  # from 0, where it is no ReLU: beyond, e^-20 is under what float32 keeps of a sum
START_RADIUS = 0.3  # of the sphere that every surface begins as, in box lengths
START_SHARPNESS = 20.0  # s of the logistic function at first, per box length
SHARPNESS_RATE = 10.0  # how much faster its logarithm is learned than other parameters
FIRST_LEVELS, ALL_LEVELS_AT = 0.5, 0.5  # share of the levels at first; share of the budget from which on all are there
POINTS, NEAR_POINTS = 4096, 1024  # drawn, and taken of them, for what is asked of distances, in every step
STRIDE = 1e-3  # box lengths between normals, whose difference is the curvature


@register_field("neus")
class NeuSField(Field):
    """Hash grid and position -> distance to the surface, negative inside, and features; features, normal and view
    direction -> colour. One hidden layer each, and one more for colours.

    Light that comes from outside is stopped by the logistic density of equation 10, ``max(-dΦ/dt / Φ, 0)`` with
    Φ = sigmoid(s f): its mean over the interval of a sample is the difference of log Φ, for the plane through the
    sample (equation 13). eikonal, curvature: weights of ``(|∇f| - 1)²``, and of the change of normals within a
    thousandth of the box, beside the photometric loss.
    """

    presets = {
        "fast": dict(log2_table=15),
        "default": dict(log2_table=17),
        "best": dict(log2_table=19),
    }

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 4,
        log2_table: int = 17,
        coarsest: int = 16,
        finest: int = 512,
        hidden: int = 64,
        sh_degree: int = 3,
        eikonal: float = 0.1,
        curvature: float = 5e-4,
        backend: str = "auto",
    ):
        super().__init__()
        self.config = dict(
            num_levels=num_levels, features=features, log2_table=log2_table, coarsest=coarsest, finest=finest,
            hidden=hidden, sh_degree=sh_degree, eikonal=eikonal, curvature=curvature,
        )
        self.levels = HashGridLevels(3, num_levels, features, log2_table, coarsest, finest)
        self.sh_degree, self.eikonal, self.curvature, self.backend = sh_degree, eikonal, curvature, backend
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, features))
        self.distance_mlp = matrices(3 + self.levels.out_features, hidden, 1 + FEATURES)
        self.bias_mlp = nn.Parameter(torch.zeros(hidden))
        self.color_mlp = matrices(FEATURES + 3 + sh_degree**2, hidden, hidden, 3)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(START_SHARPNESS)))
        self.register_buffer("used_levels", torch.tensor(float(num_levels)))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """A sphere, and nearly nothing beside it."""
        self.table.uniform_(-1e-4, 1e-4, generator=generator)
        for w in (*self.distance_mlp, *self.color_mlp):
            w.uniform_(-1, 1, generator=generator).mul_((6 / w.shape[0]) ** 0.5)
        self.distance_mlp[-1].mul_(0.02)
        self.used_levels.fill_(math.ceil(FIRST_LEVELS * self.levels.num_levels))

    @property
    def surface_density(self) -> float:
        """Of :meth:`sigma` where the distance is 0."""
        return 0.5 * self.log_sharpness.exp().item()

    def rate(self, name: str) -> float:
        return SHARPNESS_RATE if name == "log_sharpness" else 1.0

    def distance(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance [N], box lengths, and features [N, 15] at x [N, 3]; differentiable twice."""
        encoded = hash_grid(x, self.table, self.levels, backend=self.backend)
        level = torch.arange(self.levels.num_levels, device=x.device).repeat_interleave(self.levels.features)
        encoded = encoded * (level < self.used_levels)
        hidden, out = self.distance_mlp
        h = _Softplus.apply(linear(torch.cat((2 * x - 1, encoded), 1), hidden.T, self.bias_mlp))
        y = h @ out
        return (x - 0.5).norm(dim=1) - START_RADIUS + y[:, 0], y[:, 1:]

    def with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distance [N], features [N, 15] and the gradient [N, 3] of the distance, by which the loss is differentiated
        where gradients are wanted."""
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            f, features = self.distance(x)
            (gradient,) = torch.autograd.grad(f.sum(), x, create_graph=wanted)
        return (f, features, gradient) if wanted else (f.detach(), features.detach(), gradient)

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As light that comes straight at the surface meets it."""
        f, features, gradient = self.with_gradient(x)
        s = self.log_sharpness.exp()
        return s * torch.sigmoid(-s * f), torch.cat((features, normalize(gradient, dim=1)), 1)

    def density_along(self, x, direction, ray_indices, samples, spread=None):
        length = samples.t_end - samples.t_start
        f, features, gradient = self.with_gradient(x)
        s = self.log_sharpness.exp()
        towards = (gradient * direction.index_select(0, ray_indices)).sum(1).clamp(max=0)
        half = 0.5 * length * towards
        sigma = (logsigmoid(s * (f - half)) - logsigmoid(s * (f + half))) / length.clamp(min=1e-9)
        return sigma, torch.cat((features, normalize(gradient, dim=1)), 1)

    @torch.no_grad()
    def sigma(self, x: Tensor) -> Tensor:
        s = self.log_sharpness.exp()
        return s * torch.sigmoid(-s * self.distance(x)[0])

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        code = spherical_harmonics(direction, self.sh_degree, backend=self.backend)
        if ray_indices is not None:
            code = code.index_select(0, ray_indices)
        return mlp(torch.cat((embedding, code), 1), list(self.color_mlp), "sigmoid", backend=self.backend)

    def normal(self, x: Tensor) -> Tensor:
        """Where the distance grows."""
        with torch.no_grad():
            return normalize(self.with_gradient(x)[2], dim=1)

    def grow(self, fraction, seen):
        share = min(FIRST_LEVELS + (1 - FIRST_LEVELS) * fraction / ALL_LEVELS_AT, 1.0)
        self.used_levels.fill_(math.ceil(share * self.levels.num_levels))
        return False

    def regularise(self, gradients, generator):
        """The eikonal equation and smooth normals, at points all over the box and at those near the surface."""
        device = self.table.device
        x = torch.rand(POINTS, 3, generator=generator, device=device, dtype=self.table.dtype)
        with torch.no_grad():
            near = self.distance(x)[0].abs().argsort()[:NEAR_POINTS]
        x = torch.cat((x[near], x[:NEAR_POINTS]))
        aside = STRIDE * normalize(torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype), dim=1)
        _, _, gradient = self.with_gradient(torch.cat((x, x + aside)))
        here, there = normalize(gradient, dim=1).chunk(2)
        asked = self.eikonal * (gradient.norm(dim=1) - 1).square().mean()
        asked = asked + self.curvature * (1 - (here * there).sum(1))[:NEAR_POINTS].mean() / STRIDE
        own = {name: p for name, p in self.named_parameters() if name in gradients}
        found = torch.autograd.grad(asked, own.values(), allow_unused=True)
        for name, gradient in zip(own, found, strict=True):
            if gradient is not None:
                gradients[name] += gradient


class _Softplus(torch.autograd.Function):
    """``softplus(x, SOFTNESS)``, differentiable twice. Cut off where powers of e are denormal numbers, with which a CPU
    reckons ten times as slowly, here and in every product that follows."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return softplus(x.clamp(min=-SOFT), SOFTNESS)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * torch.sigmoid(SOFTNESS * x.clamp(-SOFT, SOFT))
