"""GigaGAN: that captions steer pictures, in the discriminator and in the generator."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.gigagan import GigaGAN
from nerfcore.priors.training import train_prior

MERGES = ((ord("r") + 2, ord("e") + 2), (258, ord("d") + 2))
CAPTIONS = ["a red cube", "a blue cube", "a small red torus", "red"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**config):
    torch.manual_seed(0)
    return GigaGAN(Facts((3, 8, 8), merges=MERGES), **GigaGAN.tiny | config)


def test_a_verdict_is_of_the_own_and_of_another_caption():
    prior = made().double()
    batch = Batch(torch.randn(4, 3, 8, 8, generator=generator()).double(), captions=CAPTIONS)
    other = Batch(batch.pictures, captions=[CAPTIONS[-1], *CAPTIONS[:-1]])
    (right, wrong), (swapped, _) = prior.verdict(batch.pictures, batch), prior.verdict(batch.pictures, other)
    assert right.shape == wrong.shape == (4, 3)
    assert torch.allclose(wrong, swapped) and not torch.allclose(right, swapped)


def test_pictures_follow_their_captions_and_no_padding():
    prior = made()
    one = prior.sample(2, generator(), captions=["a red cube", "a blue cube"])
    other = prior.sample(2, generator(), captions=["a red cube", "a blue cube on top of a small red torus"])
    assert (one[1] - other[1]).abs().max() > 1e-4
    assert torch.allclose(one[0], other[0], atol=1e-5)  # the second caption's length made padding of the first
    with pytest.raises(NerfcoreError, match="give 2 of them"):
        prior.sample(2, generator())


def test_the_bank_is_chosen_from_by_style():
    """With kernels that differ, and attention where it is asked for."""
    banked, plain = made(bank=3, attend=16), made(bank=1, attend=0)
    assert [layer.convolution.weight.shape[0] for layer in banked.generator.synthesis.layers] == [3, 3, 3]
    assert [len(prior.generator.synthesis.attention) for prior in (banked, plain)] == [1, 0]
    assert plain.generator.synthesis.layers[0].convolution.choice is None
    first = banked.generator.synthesis.layers[0].convolution
    (slope,) = torch.autograd.grad(banked.generator(CAPTIONS, generator())[-1].square().sum(), first.choice.weight)
    assert slope.abs().max() > 0


def test_data_without_captions_are_refused():
    with pytest.raises(NerfcoreError, match="captions"):
        GigaGAN(Facts((3, 8, 8)))


def test_it_learns_which_word_is_which_colour():
    colours = {"red": (0.8, -0.8, -0.8), "blue": (-0.8, -0.8, 0.8)}
    names = [name for name in colours for _ in range(32)]
    pictures = torch.tensor([colours[name] for name in names])[:, :, None, None].expand(-1, -1, 8, 8)
    pictures = pictures + 0.1 * torch.randn(pictures.shape, generator=generator())
    data = Examples(pictures, captions=tuple(f"a {name} thing" for name in names))
    wide = dict(widths=(8, 16), latent=4, style_width=16, text_width=16, average=0.9, learning_rate=5e-3)
    run = train_prior("gigagan", data, steps=120, batch_size=16, **GigaGAN.tiny | wide)
    found = run.prior.sample(32, generator(1), captions=[f"a {name} thing" for name in names[16:48]]).mean((2, 3))
    said = (found[:, 0] > found[:, 2]) == torch.tensor([name == "red" for name in names[16:48]])
    assert said.float().mean() > 0.9
    batch = Batch(pictures[16:48], captions=data.captions[16:48])
    assert run.prior.loss("discriminator", batch, Turn(1, 0.0, generator()))["real"] < 1
