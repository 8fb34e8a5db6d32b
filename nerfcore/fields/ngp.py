"""Instant-NGP: Müller et al. 2022, section 5.4."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nerfcore._extension import use_huge_pages
from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import Field, register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import PRECISIONS, mlp
from nerfcore.ops.ngp import NgpNetworks, has_ngp_kernel, ngp_density, ngp_loss, ngp_loss_bytes, ngp_render
from nerfcore.ops.spherical_harmonics import spherical_harmonics
from nerfcore.types import HalfTable, TouchedGradient

EMBEDDING = 16
MAX_CHUNK_RAYS = 256  # of the fused step
CHUNK_SAMPLES = 1024  # of the fused step: what the second-level cache of a core holds, at about a kilobyte each
MAX_LOG_DENSITY = 15.0  # exp(15) per unit is opaque over any step; beyond it float32 gradients overflow

FIRST_DETAIL = 0.5  # share of the levels that are never held back: coarser ones alone draw fog

TABLE_STORAGE = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


@register_field("ngp")
class NGPField(Field):
    """Hash grid -> density MLP (one hidden layer) -> embedding [16], whose first value is the log density;
    embedding and spherical harmonics of the view direction -> colour MLP (two hidden layers).

    table_storage: what the hash table is read in, "float32", "float16" or "bfloat16". The parameter is float32 always:
    half precision is a copy of it beside, which is neither trained nor saved. precision: what a GPU multiplies in, see
    :func:`~nerfcore.ops.mlp.mlp`; a CPU computes in float32. antialias: levels whose cells are narrower than a pixel
    count for less, see :func:`seen_of_levels`; pictures at lower resolutions than those of training do not flicker.
    Such a field is trained and rendered operation by operation.
    """

    presets = {
        "fast": dict(log2_table=15, num_levels=8, features=4),
        "default": dict(log2_table=17, num_levels=8, features=4),
        "best": dict(log2_table=19, num_levels=8, features=4),
    }

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 4,
        log2_table: int = 17,
        coarsest: int = 16,
        finest: int = 512,
        hidden: int = 64,
        sh_degree: int = 4,
        table_storage: str = "float32",
        precision: str = "float32",
        antialias: bool = False,
        backend: str = "auto",
    ):
        super().__init__()
        if table_storage not in TABLE_STORAGE:
            raise ValueError(f"table_storage must be {', '.join(TABLE_STORAGE)}, got {table_storage!r}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be {', '.join(PRECISIONS)}, got {precision!r}")
        self.config = dict(
            num_levels=num_levels,
            features=features,
            log2_table=log2_table,
            coarsest=coarsest,
            finest=finest,
            hidden=hidden,
            sh_degree=sh_degree,
            table_storage=table_storage,
            precision=precision,
            antialias=antialias,
        )
        self.levels = HashGridLevels(3, num_levels, features, log2_table, coarsest, finest)
        self.sh_degree, self.precision, self.antialias, self.backend = sh_degree, precision, antialias, backend
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, features))
        self.half_table = None if table_storage == "float32" else HalfTable(TABLE_STORAGE[table_storage])
        inputs = EMBEDDING + sh_degree**2
        self.density_mlp = matrices(self.levels.out_features, hidden, EMBEDDING)
        self.color_mlp = matrices(inputs, hidden, hidden, 3)
        self.grad_table: TouchedGradient | None = None  # of the fused step, kept because clearing it whole is slow

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters, see :func:`~nerfcore.fields._networks.draw`."""
        draw(self.table, [*self.density_mlp, *self.color_mlp], generator)

    def density(self, x: Tensor, width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """width [N], box lengths: of the pixels that see x; None for points."""
        encoded = hash_grid(x, self.stored_table(), self.levels, backend=self.backend, master=self.table)
        if width is not None:
            encoded = encoded * seen_of_levels(self.levels, width)
        embedding = mlp(encoded, list(self.density_mlp), precision=self.precision, backend=self.backend)
        return torch.exp(embedding[:, 0].clamp(max=MAX_LOG_DENSITY)), embedding

    def density_along(self, x, direction, ray_indices, samples, spread=None):
        if not self.antialias or spread is None:
            return self.density(x)
        return self.density(x, spread.index_select(0, ray_indices) * samples.t_mid)

    def sigma(self, x: Tensor) -> Tensor:
        if not has_ngp_kernel(self.table, self.backend):
            return super().sigma(x)
        return ngp_density(self.networks(), x, self.backend)

    @property
    def code_features(self) -> int:
        return self.sh_degree**2

    def color(
        self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None, code: Tensor | None = None
    ) -> Tensor:
        """The code of an appearance is added to that of the direction: it shifts what the network's first layer gets,
        as numbers of its own would, and the network is none the larger."""
        seen = spherical_harmonics(direction, self.sh_degree, backend=self.backend)
        seen = seen if code is None else seen + code
        if ray_indices is not None:
            seen = seen.index_select(0, ray_indices)
        return mlp(torch.cat((embedding, seen), 1), list(self.color_mlp), "sigmoid", self.precision, self.backend)

    def fused_loss(self, origin, direction, lattice, jitter, background, truth, expected_samples, full_from=0.0):
        if self.antialias or not has_ngp_kernel(self.table, self.backend):
            return None
        if self.grad_table is None or self.grad_table.values.shape != self.table.shape:
            self.grad_table = TouchedGradient.zeros_like(self.table, self.half_table)
            for tensor in (self.grad_table.values, self.stored_table().detach()):
                use_huge_pages(tensor)
        rays_per_chunk = min(max(len(origin) * CHUNK_SAMPLES // expected_samples, 16), MAX_CHUNK_RAYS)
        loss, samples, weights, found = ngp_loss(
            self.networks(), origin, direction, lattice, background, truth, self.grad_table, jitter,
            rays_per_chunk=rays_per_chunk, full_from=full_from, backend=self.backend,
        )
        gradients = {"background": found.background} if background.requires_grad else {}
        gradients |= {"truth": found.truth} if truth.requires_grad else {}
        gradients |= {f"density_mlp.{i}": g for i, g in enumerate(found.density)}
        gradients |= {f"color_mlp.{i}": g for i, g in enumerate(found.color)}
        return loss, samples, weights, gradients | {"table": self.grad_table}

    def hold_back(self, gradients, detail):
        """Levels that are held back keep the values that they were drawn with, which are as good as zero."""
        levels = math.ceil(self.levels.num_levels * (FIRST_DETAIL + (1 - FIRST_DETAIL) * detail))
        gradients["table"][self.levels.offset[levels] :].zero_()

    def step_bytes(self, samples, max_samples_per_ray, threads):
        if self.antialias or not has_ngp_kernel(self.table, self.backend):
            return super().step_bytes(samples, max_samples_per_ray, threads)
        return ngp_loss_bytes(self.networks(), samples, MAX_CHUNK_RAYS * max_samples_per_ray, threads)

    def fused_render(self, origin, direction, lattice, shows, stop_below):
        if self.antialias or not has_ngp_kernel(self.table, self.backend):
            return None
        return ngp_render(self.networks(), origin, direction, lattice, shows, stop_below, self.backend)

    def stored_table(self) -> Tensor:
        """The hash table as it is read."""
        return self.table if self.half_table is None else self.half_table.of(self.table)

    def networks(self) -> NgpNetworks:
        """What the field consists of, for :mod:`nerfcore.ops.ngp`."""
        return NgpNetworks(
            self.levels, self.stored_table(), self.density_mlp, self.color_mlp, self.sh_degree, MAX_LOG_DENSITY
        )


def seen_of_levels(levels: HashGridLevels, width: Tensor) -> Tensor:
    """[N, L F] in [0, 1]: how much of each level is left in the mean over a pixel of this width [N], in box lengths.

    ``erf(1 / sqrt(8 σ² n²))`` with n cells along the box and σ = width / sqrt(12), the standard deviation over a pixel
    (Barron et al. 2023, section 2, on one Gaussian a sample): a cell much wider than the pixel is seen as it is, of a
    much narrower one nothing is left.
    """
    cells = torch.tensor(levels.scale, device=width.device, dtype=width.dtype)
    left = torch.erf((12 / 8) ** 0.5 / (width.clamp(min=1e-9)[:, None] * cells))
    return left.repeat_interleave(levels.features, 1)
