"""Adam over named parameters against torch.optim.Adam, and through its state · CautiousAdam in noise."""

import pytest
import torch
from torch import nn

from nerfcore.testing import assert_matches
from nerfcore.training.optimizer import Adam, CautiousAdam


def parameters(dtype=torch.float32) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = dict(table=(50, 4), matrix=(7, 3))
    return {name: nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for name, shape in shapes.items()}


def gradients(step: int, like: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(p.shape, generator=generator).to(p) for name, p in like.items()}


def train(own, optimizer, steps):
    for step in steps:
        optimizer.begin_step(0.01 / (1 + step))
        optimizer.step(gradients(step, own))


def test_equals_torch_with_a_rate_of_its_own_each_step(backend, device):
    ours = {name: nn.Parameter(p.detach().to(device)) for name, p in parameters().items()}
    train_ours = Adam(ours.items(), backend)
    for step in range(30):
        moved = {name: gradient.to(device) for name, gradient in gradients(step, parameters()).items()}
        train_ours.begin_step(0.01 / (1 + step))
        train_ours.step(moved)
    results = []
    for dtype in (torch.float32, torch.float64):
        theirs = parameters(dtype)
        optimizer = torch.optim.Adam(theirs.values(), betas=(0.9, 0.99), eps=1e-15)
        for step in range(30):
            for name, gradient in gradients(step, theirs).items():
                theirs[name].grad = gradient
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)
            optimizer.step()
        results.append(theirs)
    for name, value in ours.items():
        assert_matches(value.cpu(), *(result[name] for result in results), what=name)


def test_state_carries_on_exactly():
    whole, half = parameters(), parameters()
    first, second = Adam(whole.items()), Adam(half.items())
    train(whole, first, range(10))
    train(half, second, range(4))
    again = Adam(half.items())
    again.load_state({k: v.clone() for k, v in second.state().items()}, second.step_count)
    train(half, again, range(4, 10))
    assert all(torch.equal(whole[name], half[name]) for name in whole) and again.step_count == 10


def test_a_parameter_without_gradient_keeps_still():
    own = parameters()
    before, optimizer = own["table"].detach().clone(), Adam(own.items())
    optimizer.begin_step(0.1)
    optimizer.step({"matrix": torch.ones_like(own["matrix"])})
    assert torch.equal(own["table"], before) and not any(m.any() for m in optimizer.moments["table"])


@pytest.mark.parametrize(("drift", "low", "high"), [(0.0, 0.0, 0.2), (0.3, 0.5, 1.0)])
def test_caution_keeps_still_in_noise_and_follows_what_rows_agree_on(drift, low, high):
    """How far 40 rows come against Adam, on gradients of unit noise with, or without, a mean of a random sign for each."""
    generator = torch.Generator().manual_seed(0)
    mean = drift * torch.randn(40, 6, generator=generator).sign()
    walked = []
    for kind in (Adam, CautiousAdam):
        param = nn.Parameter(torch.zeros(40, 6))
        optimizer = kind([("rows", param)], "reference")
        for _ in range(1500):
            optimizer.begin_step(1e-3)
            optimizer.step(dict(rows=mean + torch.randn(40, 6, generator=generator)))
        walked.append(param.detach().norm())
    assert low <= walked[1] / walked[0] < high


def test_caution_takes_columns_apart():
    """One in which all gradients agree moves, beside others of noise, which do not."""
    generator = torch.Generator().manual_seed(0)
    param = nn.Parameter(torch.zeros(40, 3))
    optimizer = CautiousAdam([("rows", param)], "reference")
    for _ in range(300):
        optimizer.begin_step(1e-3)
        optimizer.step(dict(rows=torch.randn(40, 3, generator=generator) + torch.tensor([0.0, 1.0, 0.0])))
    still, moved, also_still = param.detach().square().mean(0).sqrt()
    assert moved > 0.1 and max(still, also_still) < 0.05 * moved
