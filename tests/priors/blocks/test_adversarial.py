"""The adversarial game against integrals, closed forms and what it must leave alone."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Turn, prior_named
from nerfcore.priors.blocks.adversarial import (
    discriminator_loss,
    game_value,
    generator_loss,
    r1_penalty,
)
from nerfcore.priors.training import made_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**config):
    torch.manual_seed(0)
    cls = prior_named("gan")
    return cls(Facts((1, 4)), **cls.tiny | config)


# --- losses


@pytest.mark.parametrize("mean, deviation", [(0.0, 1.0), (1.0, 1.0), (2.5, 0.4)])
def test_the_value_of_the_best_discriminator_is_the_divergence_of_jensen_and_shannon(mean, deviation):
    """Goodfellow et al. 2014, theorem 1, for N(0, 1) and another normal distribution."""
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, deviation)
    x = torch.linspace(-12, 12, 400001, dtype=torch.float64)
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    divergence = torch.trapezoid(log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m), x) / 2
    even = (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000
    real, fake = p.icdf(even), q.icdf(even)
    found = game_value(p.log_prob(real) - q.log_prob(real), p.log_prob(fake) - q.log_prob(fake))
    assert found.item() == pytest.approx(2 * divergence.item() - 2 * math.log(2), abs=1e-4)


def test_losses_are_cross_entropies_and_hinges():
    real, fake = torch.randn(2, 50, generator=generator()).double().unbind()
    true, false = torch.ones(50).double(), torch.zeros(50).double()
    entropy = binary_cross_entropy_with_logits
    for objective in ("minimax", "non_saturating"):
        expected = entropy(real, true) + entropy(fake, false)
        assert torch.allclose(discriminator_loss(objective, real, fake), expected)
    assert torch.allclose(generator_loss("non_saturating", fake), entropy(fake, true))
    assert torch.allclose(generator_loss("minimax", fake), -entropy(fake, false))
    hinge = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    assert torch.allclose(discriminator_loss("hinge", real, fake), hinge)
    assert torch.allclose(generator_loss("hinge", fake), -fake.mean())


def test_minimax_hardly_moves_while_the_discriminator_is_sure():
    fake = torch.full((1,), -8.0, requires_grad=True)
    slopes = {
        name: torch.autograd.grad(generator_loss(name, fake), fake)[0].item() for name in ("minimax", "non_saturating")
    }
    assert abs(slopes["minimax"]) < 1e-3 and slopes["non_saturating"] == pytest.approx(-1, abs=1e-3)


def test_penalty_of_a_quadratic_form_and_its_slope():
    """Logits x'Ax/2 have the gradient Ax."""
    matrix = torch.randn(6, 6, generator=generator()).double()
    matrix = (matrix + matrix.T).requires_grad_()
    x = torch.randn(5, 2, 3, generator=generator(1)).double().requires_grad_()
    flat = x.flatten(1)
    found = r1_penalty(((flat @ matrix) * flat).sum(1) / 2, x)
    assert torch.allclose(found, (flat @ matrix).square().sum(1).mean())
    (slope,) = torch.autograd.grad(found, matrix)
    symmetric = (slope + slope.T) / 2
    expected = matrix @ flat.T @ flat / len(x)
    assert torch.allclose(symmetric, expected + expected.T, atol=1e-10)


# --- the prior


def test_a_lazy_penalty_is_as_much_larger_and_comes_as_rarely():
    batch = Batch(torch.rand(8, 1, 4, generator=generator()))

    def loss(step, **config):
        return made(**config).loss("discriminator", batch, Turn(step, 0.0, generator(1)))["loss"].item()

    bare, always = loss(0, r1=0.0), loss(3, r1=2.0)
    assert always > bare
    assert loss(4, r1=2.0, r1_every=4) - bare == pytest.approx(4 * (always - bare), rel=1e-4)
    assert loss(3, r1=2.0, r1_every=4) == pytest.approx(bare)


def test_adam_counts_lazy_steps_as_fewer():
    players = made(r1=1.0, r1_every=16, learning_rate=1.0, betas=(0.5, 0.9), turns=3).players()
    lazy, plain = players["discriminator"], players["generator"]
    assert lazy.learning_rate == pytest.approx(16 / 17) and lazy.betas == pytest.approx((0.5 ** (16 / 17), 0.9 ** (16 / 17)))
    assert (plain.learning_rate, plain.betas, lazy.turns, plain.turns) == (1.0, (0.5, 0.9), 3, 1)


def test_samples_are_of_the_average():
    prior = made(average=0.9)
    before = prior.sample(4, generator())
    with torch.no_grad():
        for parameter in prior.generator.parameters():
            parameter.add_(1.0)
    assert torch.equal(prior.sample(4, generator()), before)
    prior.after_step(Batch(torch.zeros(1, 1, 4)), Turn(0, 0.0, generator()))
    assert not torch.equal(prior.sample(4, generator()), before)


def test_wrong_captions_count_as_false_pictures():
    """Of a prior whose verdicts have second logits, which are constant here."""

    class Conditioned(prior_named("gan")):
        def verdict(self, pictures, batch):
            return *super().verdict(pictures, batch), torch.full((len(pictures),), 0.3 if pictures.requires_grad else 0.7)

    batch, turn = Batch(torch.rand(8, 1, 4, generator=generator())), Turn(0, 0.0, generator(1))
    torch.manual_seed(0)
    prior = Conditioned(Facts((1, 4)), **Conditioned.tiny | dict(r1=1.0, matching=2.0))
    found = prior.loss("discriminator", batch, Turn(0, 0.0, generator(1)))["loss"]
    wrong = sum(math.log(1 + math.exp(logit)) for logit in (0.3, 0.7))
    assert found.item() == pytest.approx(made(r1=1.0).loss("discriminator", batch, turn)["loss"].item() + 2 * wrong, rel=1e-5)


@pytest.mark.parametrize("config, named", [(dict(objective="least"), "least"), (dict(depth=3), "depth")])
def test_what_is_not_there_is_named(config, named):
    with pytest.raises(NerfcoreError, match=named):
        made_prior("gan", Facts((1, 4)), config)
