"""Discriminators: what each logit sees, and pieces against loops."""

import numpy as np
import pytest
import torch

from nerfcore.priors.blocks.discriminator import (
    PatchDiscriminator,
    ResidualDiscriminator,
    batch_deviation,
    pyramid_of,
)

SIDES = {1: (16,), 2: (16, 8), 3: (8, 8, 8)}


def pictures(dims=2, count=4, channels=2):
    torch.manual_seed(dims)
    return torch.randn(count, channels, *SIDES[dims], dtype=torch.float64)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_patch_is_judged_by_itself(dims):
    torch.manual_seed(0)
    net = PatchDiscriminator(2, dims, widths=(4, 4)).double().eval()
    x = pictures(dims).requires_grad_()
    logits = net(x)
    assert logits.shape == (4, 1, *(side // 4 for side in SIDES[dims]))
    (slope,) = torch.autograd.grad(logits[(0, 0, *[0] * dims)], x)
    assert slope[1:].abs().max() == 0  # other pictures
    seen = slope[0].abs().sum(0)
    corner = seen[tuple(slice(0, 11) for _ in range(dims))]  # the logit's own field: 4, then 10, then 18 less 7 of padding
    assert corner.sum() == seen.sum() and corner.sum() > 0


def test_deviation_of_a_batch_by_loops():
    x = pictures(2, count=8, channels=3)
    found = batch_deviation(x, group=4).numpy()
    assert (found[:, :3] == x.numpy()).all()
    for i in range(2):  # groups of examples i, i + 2, i + 4, i + 6
        expected = np.sqrt(x.numpy()[i::2].var(0) + 1e-8).mean()
        assert np.allclose(found[i::2, 3], expected)
    assert np.allclose(batch_deviation(x[:3])[:, 3], np.sqrt(x[:3].numpy().var(0) + 1e-8).mean())
    assert batch_deviation(x[:1].expand(4, -1, -1, -1))[:, 3].abs().max() < 2e-4  # of equal pictures


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_pyramid_keeps_means(dims):
    x = pictures(dims)
    levels = pyramid_of(x, 3)
    axes = tuple(range(2, 2 + dims))
    for level, small in enumerate(levels):
        assert small.shape[2:] == tuple(side // 2**level for side in SIDES[dims])
        assert torch.allclose(small.mean(axes), x.mean(axes))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_logits_of_a_level_see_the_picture_of_their_level_alone(dims):
    """In the order of the levels that judge, and in each of those that were entered: (0), (0, 1), (0, 1, 2)."""
    torch.manual_seed(1)
    shape = (2, *SIDES[dims])
    net = ResidualDiscriminator(shape, (4, 6, 8), multi_scale=True).double()
    levels = [x.requires_grad_() for x in pyramid_of(pictures(dims), 3)]
    levels = [x.detach().requires_grad_() for x in levels]
    logits = net(levels)
    assert logits.shape == (4, 6)
    for logit, entered in zip(logits.sum(0), (0, 0, 1, 0, 1, 2), strict=True):
        slopes = torch.autograd.grad(logit, levels, retain_graph=True, allow_unused=True)
        assert [s is not None and s.abs().max().item() > 0 for s in slopes] == [i == entered for i in range(3)]
    with pytest.raises(ValueError, match="3 sizes"):
        net(levels[:1])


def test_several_conditions_at_once_are_one_after_the_other():
    torch.manual_seed(2)
    net = ResidualDiscriminator((2, 16, 8), (4, 8), condition_width=5).double()
    x, said = [pictures()], torch.randn(4, 3, 5, dtype=torch.float64)
    together = net(x, said)
    apart = torch.stack([net(x, said[:, i]) for i in range(3)], 1)
    assert together.shape == (4, 3, 1) and torch.allclose(together, apart)
    assert (together[:, 0] - together[:, 1]).abs().min() > 1e-6


def test_its_slope_has_a_slope():
    """As the penalty of gradients needs, in float64 against differences."""
    torch.manual_seed(3)
    net = ResidualDiscriminator((1, 8, 8), (3, 4), condition_width=2, multi_scale=True).double()
    said = torch.randn(2, 2, dtype=torch.float64)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: net(pyramid_of(x, 2), said), x, atol=1e-4)
