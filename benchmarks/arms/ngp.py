"""The training step of an Instant-NGP field, and its picture, each one operation. Only ours: how the step compares with
stock PyTorch is the question of benchmarks/step.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arms import Arm

PER_RAY, CHUNK_SAMPLES = 32, 1024


@dataclass(frozen=True)
class Work:
    """kind: "step" of so many samples (size), or "picture" of size² pixels. The rest as HashGridLevels."""

    kind: str
    size: int
    num_levels: int = 8
    log2_table: int = 17


def _networks(work: Work):
    """Of the default field, but for the levels and the table that are asked for."""
    import torch

    from nerfcore._extension import use_huge_pages
    from nerfcore.ops.hash_grid import HashGridLevels
    from nerfcore.ops.ngp import NgpNetworks

    levels = HashGridLevels(
        num_levels=work.num_levels, features=4, log2_table=work.log2_table, coarsest=16, finest=512
    )
    generator = torch.Generator().manual_seed(0)

    def matrices(*widths: int) -> list[torch.Tensor]:
        pairs = zip(widths[:-1], widths[1:], strict=True)
        return [torch.randn(i, o, generator=generator) * (2 / i) ** 0.5 for i, o in pairs]

    table = torch.rand(levels.num_entries, levels.features, generator=generator) * 2e-4 - 1e-4
    use_huge_pages(table)
    return NgpNetworks(levels, table, matrices(levels.out_features, 64, 16), matrices(32, 64, 64, 3), 4, 15.0)


def _training_step(work: Work) -> Callable[[], object]:
    """Of rays with 32 samples each, all of which count."""
    import torch

    from nerfcore._extension import use_huge_pages
    from nerfcore.ops.ngp import ngp_loss
    from nerfcore.types import SampleLattice, TouchedGradient

    generator, rays = torch.Generator().manual_seed(0), max(work.size // PER_RAY, 1)
    networks = _networks(work)
    origin = torch.rand(rays, 3, generator=generator) * 0.2 + 0.4
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=-1)
    jitter, truth = torch.rand(rays, generator=generator), torch.rand(rays, 3, generator=generator)
    full = SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, 0.4 / PER_RAY, max_samples=PER_RAY)
    gradient, black = TouchedGradient.zeros_like(networks.table), torch.zeros(rays, 3)
    use_huge_pages(gradient.values)
    return lambda: ngp_loss(
        networks, origin, direction, full, black, truth, gradient, jitter, 0.0,
        rays_per_chunk=CHUNK_SAMPLES // PER_RAY,
    )


def _picture(work: Work) -> Callable[[], object]:
    """Of a thick shell, from a pinhole in front of it."""
    import torch

    from nerfcore.ops.ngp import ngp_render
    from nerfcore.ops.occupancy import occupancy_pack
    from nerfcore.types import SampleLattice

    networks, resolution, side = _networks(work), 32, work.size
    axis = (torch.arange(resolution) + 0.5) / resolution - 0.5
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    bits = occupancy_pack(((radius - 0.3).abs() < 0.05).float().flatten(), 0.5)
    pixel = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    direction = torch.nn.functional.normalize(torch.stack((x, -y, -torch.ones_like(x)), -1).view(-1, 3), dim=-1)
    origin = torch.tensor([0.5, 0.5, 2.0]).expand(side**2, 3).contiguous()
    lattice = SampleLattice(bits, resolution, 1, 3**0.5 / 512)
    return lambda: ngp_render(networks, origin, direction, lattice)


def nerfcore_arm(work: Work, threads: int) -> Arm:
    return Arm({"step": _training_step, "picture": _picture}[work.kind](work), dict)


ARMS = {"nerfcore": nerfcore_arm}
