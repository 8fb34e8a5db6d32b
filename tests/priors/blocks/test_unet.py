"""The U: shapes, patches, what it is told, and gradients."""

import pytest
import torch

from nerfcore.data.captions import Tokeniser
from nerfcore.priors.blocks.condition import Condition
from nerfcore.priors.blocks.unet import UNet, from_patches, to_patches


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def waken(network):
    """Layers that begin at 0 hide what is behind them."""
    with torch.no_grad():
        for i, p in enumerate(network.parameters()):
            if not p.any():
                p.copy_(0.1 * randn(*p.shape, seed=i))
    return network


@pytest.mark.parametrize("shape", [(2, 8), (1, 8, 12), (3, 4, 4, 4)])
@pytest.mark.parametrize("patch", [1, 2])
def test_shapes_in_one_two_and_three_dimensions(shape, patch):
    network = UNet(shape, 5, (8, 16), patch=patch)
    x = randn(3, *shape)
    assert network(x, torch.zeros(3)).shape == (3, 5, *shape[1:]) and not network(x, torch.zeros(3)).any()
    out = waken(network)(x, torch.linspace(-1, 1, 3))
    gradients = torch.autograd.grad(out.square().sum(), list(network.parameters()))
    assert all(g.isfinite().all() and g.any() for g in gradients)


@pytest.mark.parametrize("shape", [(2, 8), (2, 4, 8), (2, 4, 4, 8)])
def test_patches_and_back(shape):
    x = randn(2, *shape)
    patches = to_patches(x, 2)
    assert patches.shape == (2, 2 ** len(shape), *(side // 2 for side in shape[1:]))
    assert torch.equal(from_patches(patches, 2), x) and torch.equal(to_patches(x, 1), x)


def test_a_patch_is_a_cell():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert to_patches(x, 2)[0, :, 0, 1].tolist() == [2, 3, 6, 7]
    shuffled = torch.nn.functional.pixel_unshuffle(randn(2, 3, 4, 6), 2)
    assert torch.equal(to_patches(randn(2, 3, 4, 6), 2).sort(1).values, shuffled.sort(1).values)


def test_it_knows_the_noise_and_what_is_said():
    merges = Tokeniser.trained(("a red cube", "a blue torus"), 300).merges
    for condition in (Condition(8, labels=3), Condition(8, merges=merges, depth=1)):
        network = waken(UNet((1, 4, 4), 1, (8, 16), condition_width=8, context_width=condition.context_width))
        x, noise = randn(2, 1, 4, 4), torch.zeros(2)
        said = dict(labels=torch.tensor([0, 2])) if condition.embedding else dict(captions=("a red cube", "a blue torus"))
        one = network(x, noise, **condition(2, **said))
        assert not torch.allclose(one, network(x, noise + 0.3, **condition(2, **said)), atol=1e-4)
        silent = network(x, noise, **condition(2, **said, silent=torch.tensor([True, False])))
        nothing = network(x, noise, **condition(2))
        assert torch.equal(silent[1], one[1]) and not torch.allclose(silent[0], one[0], atol=1e-4)
        assert torch.allclose(silent[0], nothing[0], atol=1e-5)


def test_patches_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="patches of 4"):
        UNet((1, 6, 6), 1, patch=4)
    with pytest.raises(ValueError, match="halved"):
        UNet((1, 6, 6), 1, (8, 8, 8))
