"""DCGAN: where the paper puts what, and that it learns."""

import pytest
import torch
from torch import nn

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Facts
from nerfcore.priors.blocks.discriminator import BATCH_NORMS
from nerfcore.priors.dcgan import DCGAN
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(1, 16), (3, 28, 28), (2, 8, 8, 8)])
def test_norms_are_everywhere_but_at_the_pictures(shape):
    torch.manual_seed(0)
    prior = DCGAN(Facts(shape), widths=(8, 12))
    assert prior.sample(3, generator()).shape == (3, *shape)

    def kinds(module):
        return [type(m) for m in module.modules() if isinstance(m, (nn.modules.conv._ConvNd, *BATCH_NORMS))]

    dims = len(shape) - 1
    conv, back, norm = (
        (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d),
        (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
        (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
    )[dims - 1]
    assert kinds(prior.generator) == [norm, back, norm, back]
    assert kinds(prior.discriminator) == [conv, conv, norm]


def test_weights_and_adam_are_those_of_section_4():
    torch.manual_seed(0)
    prior = DCGAN(Facts((1, 28, 28)))
    for player in prior.players().values():
        assert (player.learning_rate, player.betas) == (2e-4, (0.5, 0.999))
    for layer in (prior.generator.network[0], prior.discriminator[0][2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_samples_do_not_depend_on_what_they_are_drawn_with():
    """Batch norm of a sample uses what training has seen."""
    torch.manual_seed(0)
    prior = DCGAN(Facts((1, 8, 8)), **DCGAN.tiny).eval()
    assert torch.allclose(prior.sample(16, generator())[:8], prior.sample(8, generator()), atol=1e-6)


def test_it_learns_what_is_bright():
    """Pictures that are bright above and dark below."""
    data = torch.cat((torch.full((64, 1, 4, 8), 0.8), torch.full((64, 1, 4, 8), -0.8)), 2)
    data = data + 0.1 * torch.randn(data.shape, generator=generator())
    run = train_prior("dcgan", Examples(data), steps=120, batch_size=16, learning_rate=2e-3, widths=(8, 16), latent=4)
    found = run.prior.sample(32, generator(1)).mean((0, 1, 3))
    assert found[:3].min() > 0.4 and found[5:].max() < -0.4
