"""Plenoxels, TensoRF and planes: what they are by their formulas · finer grids are the same function · smoothness."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from nerfcore.fields._grids import (
    LEVEL,
    SMOOTH_SHARE,
    add_smoothness,
    density_of,
    growing_sizes,
    neighbours_of,
    some_rows,
)
from nerfcore.fields.plenoxels import PlenoxelsField
from nerfcore.fields.tensorf import TensoRFField
from nerfcore.fields.triplane import TriplaneDecoder, TriplaneField
from nerfcore.ops.spherical_harmonics import spherical_harmonics
from nerfcore.types import TouchedGradient


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corners(n: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.linspace(0, 1, n)] * 3)


@torch.no_grad()
def drawn(field):
    """With parameters of the size that training gives them."""
    field.initialise(generator())
    for parameter in field.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator(1)))
    return field


def test_a_voxel_holds_a_density_and_harmonics():
    field = drawn(PlenoxelsField(8, 8))
    direction = normalize(torch.randn(512, 3, generator=generator(2)), dim=-1)
    density, embedding = field.density(corners(8))
    torch.testing.assert_close(density, 100 * torch.log1p(torch.exp(field.held[:, 0] - 6)), rtol=1e-4, atol=1e-5)
    basis = spherical_harmonics(direction, 3)
    red = torch.sigmoid((field.coefficients[:, :9] * basis).sum(1))
    torch.testing.assert_close(field.color(embedding, direction)[:, 0], red, rtol=1e-4, atol=1e-5)


def test_a_grid_of_zeros_is_as_good_as_empty():
    assert 1 - math.exp(-density_of(torch.zeros(())).item()) < 0.25  # across the whole box
    assert 1 - math.exp(-density_of(torch.tensor(14.0)).item() / 256) > 0.95  # across a voxel


def test_a_vector_matrix_grid_is_the_sum_of_its_outer_products():
    """Chen et al. 2022, equation 3, entry by entry."""
    field = drawn(TensoRFField(5, 5, density_features=2, color_features=2, appearance=3, hidden=16))
    (xy, xz, yz), (z, y, x) = field.density_planes, field.density_lines
    dense = (
        torch.einsum("ijr,kr->ijk", xy, z) + torch.einsum("ikr,jr->ijk", xz, y) + torch.einsum("jkr,ir->ijk", yz, x)
    )
    density, _ = field.density(corners(5))
    torch.testing.assert_close(density, density_of(dense).flatten(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [PlenoxelsField, TensoRFField, TriplaneField])
def test_a_grid_twice_as_fine_is_the_same_function(kind):
    """5 corners become 9, of which every second one was there."""
    field, x = drawn(kind(9, 5)), torch.rand(300, 3, generator=generator(3))
    direction = normalize(torch.randn(300, 3, generator=generator(2)), dim=-1)

    def looked():
        density, embedding = field.density(x)
        return density, field.color(embedding, direction)

    before = looked()
    field.refine(9) if kind is PlenoxelsField else field.grow(1.0, None)
    assert sum(p.shape[0] == 729 or 9 in p.shape for p in field.parameters()) >= 1
    for old, new in zip(before, looked(), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-3, atol=1e-4)


def test_sizes_grow_by_about_the_same_factor():
    assert growing_sizes(64, 256) == [64, 128, 256] and growing_sizes(64, 64) == [64]
    assert growing_sizes(64, 65) == [64, 65] and growing_sizes(96, 256, 1.4) == [96, 133, 185, 256]


@pytest.mark.parametrize("size", [(7,), (4, 5), (3, 4, 5)], ids=str)
def test_smoothness_is_the_derivative_of_the_total_variation(size):
    """Of two grids that lie end to end, by autograd; of a few rows the same, in as many steps as there are others."""
    grids = torch.randn(2, *size, 3, generator=generator(), dtype=torch.float64).requires_grad_()
    variation = sum(
        (grids.diff(dim=axis + 1).square() + LEVEL**2).sqrt().sum() for axis in range(len(size))
    ) / grids[..., 0].numel()
    (expected,) = torch.autograd.grad(0.3 * variation, grids)
    table = grids.detach().flatten(0, -2)
    every = torch.arange(len(table))
    gradient = torch.zeros_like(table)
    add_smoothness(gradient, table, every, neighbours_of(every, size), 0.3)
    torch.testing.assert_close(gradient, expected.flatten(0, -2))
    few, touched = every[3:6], TouchedGradient.zeros_like(table)
    add_smoothness(touched, table, few, neighbours_of(few, size), 0.3 * len(few) / len(table))
    torch.testing.assert_close(touched.values[few], gradient[few])
    assert touched.touched.nonzero().flatten().tolist() == few.tolist() and not touched.values[6:].any()


def test_every_row_has_its_turn_to_be_smoothed():
    g, seen = generator(), torch.zeros(1000, dtype=torch.long)
    for _ in range(3000):
        rows = some_rows(1000, g)
        assert len(rows) == len(rows.unique()) == -(-1000 // SMOOTH_SHARE)
        seen[rows] += 1
    assert seen.min() > 10 and seen.max() < 110  # 48 on average


def test_planes_of_many_scenes_have_one_decoder():
    decoder = TriplaneDecoder(features=4, hidden=16)
    with torch.no_grad():
        for w in decoder.parameters():
            w.normal_(generator=generator())
    planes = torch.randn(3, 3, 6, 6, 4, generator=generator(1)).requires_grad_()
    x = torch.rand(3, 50, 3, generator=generator(2))
    direction = normalize(torch.randn(3, 50, 3, generator=generator(3)), dim=-1)
    density, color = decoder(planes, x, direction)
    assert density.shape == (3, 50) and color.shape == (3, 50, 3)
    for i in range(3):
        field = TriplaneField.of(planes[i], decoder)
        alone, embedding = field.density(x[i])
        torch.testing.assert_close(alone, density[i])
        torch.testing.assert_close(field.color(embedding, direction[i]), color[i])
    (gradient,) = torch.autograd.grad(alone.log1p().sum(), planes)
    assert gradient[2].abs().max() > 0 and not gradient[:2].any()


def test_planes_of_another_shape_are_refused_in_words():
    decoder = TriplaneDecoder(features=4, hidden=16)
    with pytest.raises(ValueError, match=r"planes must have shape \[B, 3, H, W, C=4\], channels last, got \[1, 3, 4, 6, 6\]"):
        decoder.density(torch.zeros(1, 3, 4, 6, 6), torch.zeros(1, 5, 3))
    with pytest.raises(ValueError, match=r"x must have shape \[B=2, N, 3\], got \[1, 5, 3\]"):
        decoder.density(torch.zeros(2, 3, 6, 6, 4), torch.zeros(1, 5, 3))
    for kind in (PlenoxelsField, TensoRFField, TriplaneField):
        with pytest.raises(ValueError, match="coarsest must be from .* to resolution=16, got 32"):
            kind(16, 32)
