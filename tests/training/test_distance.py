"""Training on triangles: points and their labels, a ball that is learned, runs that repeat, states that go on."""

from __future__ import annotations

import pytest
import torch

from nerfcore.data.triangles import Triangles
from nerfcore.errors import NerfcoreError
from nerfcore.ops.bvh import signed_distance
from nerfcore.training.distance import DistanceConfig, DistancePoints, DistanceTrainer, relative_error
from tests import solids

SMALL = dict(
    points_per_step=1 << 11,
    field_config=dict(num_levels=4, features=2, log2_table=12, coarsest=8, finest=64, hidden=32),
)


def triangles(mesh):
    vertices, faces = solids.tensors(mesh, torch.float64)
    return Triangles(vertices, faces, "solid")


def test_points_are_spread_and_labelled(backend, device):
    vertices, faces = solids.tensors(solids.cuboid(), device=device)
    points = DistancePoints(0.5 + 0.8 * vertices, faces, backend)
    x, distance = (t.cpu() for t in points.draw(4096, torch.Generator(device).manual_seed(0)))
    assert x.shape == (4096, 3) and ((x >= 0) & (x <= 1)).all()
    on = 3 * 4096 // 8
    exact = signed_distance(points.bvh, x.to(device), backend=backend).cpu()
    assert not distance[:on].any() and exact[:on].abs().max() < 1e-6
    assert torch.allclose(distance[on:], exact[on:], atol=1e-6)
    near = distance[on : 4096 * 7 // 8].abs()
    assert 1e-4 < near.median() < 1e-2 and near.max() > 0.02
    assert 0.3 < (distance[on : 4096 * 7 // 8] < 0).float().mean() < 0.7
    area = torch.tensor([0.6, 0.6, 0.4, 0.4, 0.24, 0.24])
    _, counts = torch.unique(_side(x[:on]), return_counts=True)
    expected = on * area / area.sum()
    assert (counts.sort().values - expected.sort().values).abs().max() < 0.05 * on


def _side(x):
    """Which side of the block a point on it is on."""
    relative = (x - 0.5) / torch.tensor([0.4, 0.24, 0.16])
    axis = relative.abs().argmax(1)
    return 2 * axis + (relative.gather(1, axis[:, None])[:, 0] > 0)


def test_points_on_a_surface_are_even():
    """As many in each half of a long triangle's area, whatever its shape."""
    points = DistancePoints(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]]))
    x = points.on_surface(40000, torch.Generator().manual_seed(0))
    assert ((x[:, :2].sum(1) < 0.5**0.5).float().mean() - 0.5).abs() < 0.01
    assert (x[:, :2].mean(0) - 1 / 3).abs().max() < 0.01


def test_a_ball_is_learned(kernels):
    trainer = DistanceTrainer(triangles(solids.ball()), DistanceConfig(steps=150, **SMALL))
    while trainer.fraction < 1:
        trainer.step()
    trainer.check_finite()
    x = 3 * (torch.rand(3000, 3, generator=torch.Generator().manual_seed(1)) - 0.5)
    model, true = trainer.model({}), x.norm(dim=1) - 1
    found = model.distance(x)
    near = true.abs() < 0.1
    assert (found - true)[near].abs().mean() < 0.02 and ((found < 0) == (true < 0))[true.abs() > 0.02].float().mean() > 0.99
    on = torch.nn.functional.normalize(x, dim=1)
    assert (model.normal(on) * on).sum(1).median() > 0.98


def test_runs_repeat_to_the_bit(kernels):
    runs = []
    for _ in range(2):
        trainer = DistanceTrainer(triangles(solids.cuboid()), DistanceConfig(steps=9, seed=3, **SMALL))
        while trainer.fraction < 1:
            trainer.step()
        runs.append(torch.cat([p.detach().flatten() for p in trainer.field.parameters()]))
    assert torch.equal(*runs)


def test_a_state_goes_on():
    config = DistanceConfig(steps=6, backend="reference", **(SMALL | dict(points_per_step=64)))
    ours = DistanceTrainer(triangles(solids.cuboid()), config)
    for _ in range(3):
        ours.step()
    tensors, description = ours.state()
    again = DistanceTrainer(triangles(solids.cuboid()), config)
    again.load_state({k: v.clone() for k, v in tensors.items()}, description)
    assert again.steps == 3 and again.fraction == 0.5 and again.seconds >= description["seconds"]
    assert all(torch.equal(a, b) for a, b in zip(ours.field.parameters(), again.field.parameters(), strict=True))
    while again.fraction < 1:
        again.step()
    assert again.loss.isfinite()


def test_the_relative_error():
    found, true = torch.tensor([0.11, -0.2, 0.005]), torch.tensor([0.1, -0.19, 0.0])
    assert relative_error(found, true).item() == pytest.approx((0.01 / 0.11 + 0.01 / 0.2 + 0.5) / 3, rel=1e-5)


def test_budgets_in_words():
    assert DistanceConfig().minutes == 1.0 and DistanceConfig(steps=5).minutes is None
    with pytest.raises(NerfcoreError, match="give minutes or steps, not both"):
        DistanceConfig(steps=5, minutes=1)
    with pytest.raises(NerfcoreError, match="the budget must be positive"):
        DistanceConfig(steps=0)
