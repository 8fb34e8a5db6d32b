"""BackdropField: its fused step equals the modular one, the sphere's gradients too · what it is made of renders as before."""

import pytest
import torch
from torch.nn.functional import normalize

from nerfcore.fields.backdrop import BackdropField
from nerfcore.training.loss import modular_loss, photometric_loss
from nerfcore.types import SampleLattice

INNER = dict(num_levels=3, features=2, log2_table=10, coarsest=4, finest=32, hidden=16)


def made(backend: str) -> BackdropField:
    field = BackdropField("ngp", INNER, num_levels=3, log2_table=8, finest=16, hidden=8, backend=backend)
    generator = torch.Generator().manual_seed(0)
    field.initialise(generator)
    with torch.no_grad():
        for table in (field.sky_table, field.inner.table):
            table.uniform_(-1, 1, generator=generator)
    return field


def batch():
    """Box rays of which many leave the box again; jitter, background, truth."""
    generator = torch.Generator().manual_seed(1)
    origin = torch.rand(200, 3, generator=generator)
    direction = normalize(torch.randn(200, 3, generator=generator), dim=-1)
    jitter, *colors = torch.rand(7, 200, generator=generator)
    background, truth = torch.stack(colors[:3], 1), torch.stack(colors[3:], 1)
    lattice = SampleLattice(torch.full((8**3 // 8,), 0x55, dtype=torch.uint8), 8, 1, 0.01)
    return origin, direction, lattice, jitter, background, truth


@pytest.mark.parametrize("needs", ["nothing", "background and truth"])
def test_the_fused_step_equals_the_modular_one(kernel_backend, needs):
    field, given = made(kernel_backend), batch()
    for tensor in given[4:]:
        tensor.requires_grad_(needs != "nothing")
    loss, _, weights, fused = photometric_loss(field, *given, 4096, backend=kernel_backend)
    expected, _, _, modular = modular_loss(field, *given, backend=kernel_backend)
    fused["inner.table"] = fused["inner.table"].values
    of_truth = {"truth"} if given[-1].requires_grad else set()  # nothing hangs on the background
    assert set(fused) == set(modular) == {name for name, _ in field.named_parameters()} | of_truth
    torch.testing.assert_close(loss, expected)
    for name, gradient in modular.items():
        torch.testing.assert_close(fused[name], gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max().item())
    assert modular["sky_table"].abs().max() > 0 and 0.05 < weights.sum() / len(given[0]) < 0.95


def test_colours_of_the_sphere_are_of_the_direction_alone(kernel_backend):
    field, direction = made(kernel_backend), normalize(torch.randn(50, 3), dim=-1)
    sky = field.sky(direction)
    assert sky.shape == (50, 3) and 0 < sky.min() and sky.max() < 1 and sky.std(0).min() > 0.01
    reference = made("reference").sky(direction)
    torch.testing.assert_close(sky, reference, rtol=1e-4, atol=1e-5)
