"""Latent diffusion: what it diffuses, in which order its parts learn, and that it draws what captions say."""

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.stable_diffusion import StableDiffusion
from nerfcore.priors.training import facts_of, train_prior
from tests.priors.bands import WORDS, agreement, bands, generator

CODER = dict(prior="vqvae", codes=16, code_width=2, widths=(16,), learning_rate=1e-2)
SMALL = StableDiffusion.tiny | dict(coder=CODER)


def test_it_draws_what_captions_say():
    prior = train_prior("stable_diffusion", bands(), steps=300, batch_size=32, **SMALL).prior
    assert agreement(prior.sample(40, generator(), captions=WORDS)) > 0.9


def test_codes_have_deviation_one_and_decode_to_what_the_coder_reconstructs():
    run = train_prior("stable_diffusion", bands(), steps=60, batch_size=32, **SMALL)
    prior, pictures = run.prior, bands().pictures
    codes = prior.coder.encoder(pictures) / prior.deviation
    assert codes.std().item() == pytest.approx(1, rel=0.1)
    assert torch.equal(prior.decode(codes), prior.coder.reconstruct(pictures))
    seen = [{name.split("_")[0] for name in record} & {"all", "diffusion"} for record in run.history]
    assert {"diffusion"} in seen or {"all", "diffusion"} in seen


def test_the_coder_stays_as_it_is_while_diffusion_learns():
    prior = train_prior("stable_diffusion", bands(), steps=20, batch_size=8, coder_span=0.0, **SMALL).prior
    torch.manual_seed(0)
    fresh = StableDiffusion(facts_of(bands()), **SMALL)
    assert all(torch.equal(a, b) for a, b in zip(prior.coder.state_dict().values(), fresh.coder.state_dict().values(), strict=True))


def test_it_has_no_likelihood_of_pictures():
    with pytest.raises(NerfcoreError, match="codes"):
        StableDiffusion(facts_of(bands()), **SMALL).bits(bands().pictures, generator())
