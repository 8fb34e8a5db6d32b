"""StyleSwin: its levels, what its styles reach, and that it learns."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Facts
from nerfcore.priors.styleswin import StyleSwin, SwinSynthesis
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spatial", [(16,), (16, 8), (8, 8, 16)])
def test_each_level_follows_the_styles_up_to_it(spatial):
    torch.manual_seed(0)
    net = SwinSynthesis((2, *spatial), (8, 12), 5).double()
    styles = torch.randn(2, net.num_layers, 5, generator=generator()).double().requires_grad_()
    levels = net(styles, generator())
    assert [tuple(x.shape[2:]) for x in levels] == [tuple(n // 2 for n in spatial), spatial]
    for level, picture in enumerate(levels):
        (slope,) = torch.autograd.grad(picture.square().sum(), styles, retain_graph=True)
        reached = [bool(s.abs().max() > 0) for s in slope[0]]
        assert reached == [layer < 2 * (level + 1) for layer in range(4)]


def test_places_differ_though_the_constant_does_not():
    """The encoding of positions tells equal windows apart."""
    torch.manual_seed(0)
    net = SwinSynthesis((1, 16, 16), (8, 8, 8), 5)
    with torch.no_grad():
        net.constant.copy_(net.constant[:1, :1].clone().expand_as(net.constant))
        for layer in net.to_pictures:  # so that no picture is as dark or bright as can be
            layer.weight *= 0.1
    styles = torch.randn(1, net.num_layers, 5, generator=generator())
    windows = net(styles, generator())[-1].detach().unfold(2, 4, 4).unfold(3, 4, 4).reshape(16, 16)
    assert (torch.cdist(windows, windows) + torch.eye(16)).min() > 1e-3


def test_truncation_and_mixing_are_those_of_stylegan():
    torch.manual_seed(0)
    prior = StyleSwin(Facts((1, 16, 16)), **StyleSwin.tiny)
    prior.truncation = 0.0
    assert prior.sample(8, generator()).std(0).max() < 1e-5
    one, other = (prior.painter.styles(2, generator(seed)) for seed in (1, 2))
    assert torch.equal(prior.mix(one, other, 0, generator()), prior.mix(other, one, 4, generator()))


def test_it_learns_what_is_bright():
    """Pictures that are bright above and dark below."""
    data = torch.cat((torch.full((64, 1, 4, 8), 0.8), torch.full((64, 1, 4, 8), -0.8)), 2)
    data = data + 0.1 * torch.randn(data.shape, generator=generator())
    run = train_prior(
        "styleswin", Examples(data), steps=200, batch_size=16, widths=(8, 8), latent=4, style_width=16, average=0.9,
        learning_rate=5e-3, final=1.0,
    )  # fmt: skip
    found = run.prior.sample(32, generator(1)).mean((0, 1, 3))
    assert found[:3].min() > 0.4 and found[5:].max() < -0.4
