"""StyleGAN: styles, truncation and mixing."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Facts
from nerfcore.priors.stylegan import StyleGAN
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**config):
    torch.manual_seed(0)
    return StyleGAN(Facts((2, 16, 16)), **StyleGAN.tiny | dict(widths=(4, 6, 8)) | config)


def test_truncation_pulls_to_the_mean_style():
    prior = made()
    spread = {}
    for prior.truncation in (1.0, 0.5, 0.0):
        spread[prior.truncation] = prior.sample(16, generator()).std(0).mean().item()
    assert spread[0.0] < 1e-5 < spread[0.5] < spread[1.0]
    painter = prior.painter
    many = painter.styles(20000, generator(3)).mean(0, keepdim=True)
    mean = painter.synthesis(many, generator())[-1]
    single = painter.synthesis(painter.styles(1, generator(4)), generator())[-1]
    prior.truncation = 0.0
    found = prior.sample(1, generator())
    assert (found - mean.clamp(-1, 1)).abs().mean() < 0.1 * (found - single.clamp(-1, 1)).abs().mean()


def test_mixing_takes_early_layers_of_one_and_late_ones_of_the_other():
    prior = made()
    coarse, fine = (prior.painter.styles(4, generator(seed)) for seed in (1, 2))
    layers = prior.generator.synthesis.num_layers

    def drawn(styles):
        return prior.painter.synthesis(styles, generator())[-1].clamp(-1, 1)

    assert layers == 5
    assert torch.equal(prior.mix(coarse, fine, 0, generator()), drawn(fine))
    assert torch.equal(prior.mix(coarse, fine, layers, generator()), drawn(coarse))
    half = prior.mix(coarse, fine, 2, generator())
    assert not torch.equal(half, drawn(coarse)) and not torch.equal(half, drawn(fine))


@pytest.mark.parametrize("mixing, most", [(0.0, 1), (1.0, 2)])
def test_training_mixes_two_styles_at_one_place(mixing, most):
    styles = made(mixing=mixing).mixed_styles(200, generator())
    changes = (styles[:, 1:] != styles[:, :-1]).any(-1).sum(1)
    assert changes.max() == most - 1 and changes.min() == most - 1
    starts = (styles[:, 1:] != styles[:, :-1]).any(-1).float().argmax(1) if most == 2 else None
    assert starts is None or set(starts.tolist()) == {0, 1, 2, 3}


def test_it_learns_what_is_bright():
    """Pictures that are bright above and dark below."""
    data = torch.cat((torch.full((64, 1, 4, 8), 0.8), torch.full((64, 1, 4, 8), -0.8)), 2)
    data = data + 0.1 * torch.randn(data.shape, generator=generator())
    run = train_prior(
        "stylegan", Examples(data), steps=150, batch_size=16, widths=(8, 8), latent=4, style_width=16, average=0.9,
        learning_rate=5e-3,
    )  # fmt: skip
    found = run.prior.sample(32, generator(1)).mean((0, 1, 3))
    assert found[:3].min() > 0.4 and found[5:].max() < -0.4
