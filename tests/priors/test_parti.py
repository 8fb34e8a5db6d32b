"""Parti and the ViT-VQGAN that it draws codes of."""

import pytest
import torch

from nerfcore.priors.base import Facts
from nerfcore.priors.blocks.vision import patch_decoder, patch_encoder
from nerfcore.priors.training import train_prior
from nerfcore.priors.vit_vqgan import ViTVQGAN
from tests.priors.bands import WORDS, agreement, bands, generator

CODER = dict(prior="vqvae", codes=8, code_width=4, widths=(16,), learning_rate=1e-2)


def test_it_draws_what_captions_say_and_guidance_makes_it_surer():
    small = dict(coder=CODER, width=32, depth=1, heads=2, learning_rate=4e-3)
    prior = train_prior("parti", bands(), steps=250, batch_size=32, **small).prior
    right = []
    for prior.config["scale"] in (0.0, 1.5):
        right.append(agreement(prior.sample(40, generator(), captions=WORDS)))
    assert right[0] < 0.8 and right[1] > 0.95  # of scale 0 nothing is said


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_patches_see_each_other_and_each_becomes_one_place(dims):
    torch.manual_seed(0)
    places = (3, 2, 2)[:dims]
    encoder = patch_encoder(2, 5, places, 2, 16, 1, 2).double()
    decoder = patch_decoder(5, 2, places, 2, 16, 1, 2).double()
    pictures = torch.randn(2, 2, *(2 * side for side in places), dtype=torch.float64, requires_grad=True)
    codes = encoder(pictures)
    made = decoder(codes)
    assert codes.shape == (2, 5, *places) and made.shape == pictures.shape
    for value in (codes[0].flatten()[0], made[0].flatten()[0]):  # one place looks at all pixels of its picture
        seen = torch.autograd.grad(value, pictures, retain_graph=True)[0].abs().sum(1)
        assert seen[0].min() > 0 and seen[1].max() == 0


def test_without_attention_patches_are_alone():
    """The convolutions cut pictures into patches and put them together at the same places."""
    torch.manual_seed(0)
    encoder, decoder = patch_encoder(1, 4, (2, 3), 4, 16, 0, 2), patch_decoder(4, 1, (2, 3), 4, 16, 0, 2)
    pictures = torch.zeros(1, 1, 8, 12, requires_grad=True)
    made = decoder(encoder(pictures + torch.randn(pictures.shape, generator=generator())))
    (seen,) = torch.autograd.grad(made[0, 0, 5, 9], pictures)
    assert (seen[0, 0, 4:, 8:] != 0).all() and seen.count_nonzero() == 16


def test_patches_have_to_fit():
    for patch in (3, 16):
        with pytest.raises(ValueError, match="patch"):
            ViTVQGAN(Facts((1, 24, 24)), patch=patch)
