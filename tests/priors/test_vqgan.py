"""VQGAN: the weight that balances two losses, features that stay as they were learned, and a discriminator that waits."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.training import made_prior, train_prior
from nerfcore.priors.vqgan import VQGAN, balance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(labels=True):
    pictures = torch.rand(16, 1, 8, 8, generator=generator()) * 2 - 1
    return Examples(pictures, torch.arange(16) % 2 if labels else None, ("a", "b") if labels else ())


def made(**config):
    torch.manual_seed(0)
    return VQGAN(Facts((1, 8, 8), ("a", "b")), **VQGAN.tiny | config)


def test_the_weight_makes_both_gradients_as_long():
    last, x = torch.randn(3, 4, generator=generator()).requires_grad_(), torch.randn(5, 4, generator=generator(1))
    wanted, fooled = (x @ last.T).square().mean(), 1e-2 * (x @ last.T).sin().mean()
    weight = balance(wanted, fooled, last)
    lengths = [torch.autograd.grad(loss, last)[0].norm().item() for loss in (wanted, weight * fooled)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.05) and not weight.requires_grad
    assert balance(1e9 * (x @ last.T).square().mean(), (x @ last.T).sum() * 0, last) == 1e4


def test_features_are_learned_first_and_then_stay():
    untrained = made()
    run = train_prior("vqgan", examples(), steps=3, batch_size=4, **VQGAN.tiny)
    once, again = (
        train_prior("vqgan", examples(), steps=steps, batch_size=4, **VQGAN.tiny).prior.seen.state_dict() for steps in (1, 6)
    )
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["to_logits.weight"], untrained.seen.state_dict()["to_logits.weight"])
    run.prior.train()
    assert not run.prior.seen.training and run.prior.decoder.training
    trained = {id(p) for player in run.prior.players().values() for p in player.parameters}
    assert not trained & {id(p) for p in run.prior.seen.parameters()}


def test_likeness_is_zero_of_the_same_and_has_a_gradient():
    prior, pictures = made(), examples().pictures
    other = (pictures.flip(-1)).requires_grad_()
    assert prior.unlike(pictures, pictures).item() == 0
    assert torch.autograd.grad(prior.unlike(other, pictures), other)[0].abs().max() > 0


def test_the_discriminator_has_a_say_from_its_start_on():
    prior, batch = made(starts=0.5, adversarial=2.0).train(), Batch(examples().pictures[:4])
    early, late = (prior.loss("coder", batch, Turn(0, fraction, generator())) for fraction in (0.4, 0.6))
    alone = early["mse"] + prior.config["perceptual"] * early["unlike"] + early["codebook"]
    assert early["loss"].item() == pytest.approx(alone.item(), rel=1e-5)
    assert late["loss"].item() != pytest.approx(alone.item(), rel=1e-3)
    players = prior.players()
    assert not {id(p) for p in players["coder"].parameters} & {id(p) for p in players["discriminator"].parameters}


def test_without_labels_features_are_of_turns():
    run = train_prior("vqgan", examples(labels=False), steps=2, batch_size=4, **VQGAN.tiny)
    assert run.prior.seen.classes == (4,)
    with pytest.raises(NerfcoreError, match="equal sides"):
        made_prior("vqgan", Facts((1, 8, 4)), VQGAN.tiny)
