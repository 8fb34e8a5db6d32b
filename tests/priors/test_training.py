"""Training of priors, with one that is as small as can be."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import nn

import nerfcore
import nerfcore.priors.training as training
from nerfcore.data.examples import Examples, picture_grid
from nerfcore.errors import ModelError, NerfcoreError
from nerfcore.priors.base import NOT_PRIORS, PRIORS, Batch, Player, Prior, prior_named
from nerfcore.priors.training import PriorTrainer, load_prior, train_prior
from nerfcore.training import loop
from nerfcore.training.schedule import cosine_decay
from tests.priors.bands import bands


class Two(Prior):
    """Two numbers, each with a player, that follow the mean of the pictures and its negative."""

    name, batch_size = "two", 4

    def __init__(self, facts, rate=0.1, final=1.0, turns=1, spoil=-1):
        super().__init__(facts, rate=rate, final=final, turns=turns, spoil=spoil)
        self.first, self.second = (nn.Parameter(torch.zeros(())) for _ in range(2))
        self.register_buffer("seen", torch.zeros(0, dtype=torch.float64))
        self.calls, self.prepared, self.after = [], 0, 0

    def prepare(self, examples, generator):
        self.prepared += len(examples)

    def players(self):
        chosen = self.config
        first = Player([self.first], chosen["rate"], turns=chosen["turns"], final=chosen["final"])
        return {"first": first, "second": Player([self.second], 2 * chosen["rate"])}

    def loss(self, player, batch, turn):
        self.calls.append((player, turn.step, batch.pictures.flatten(1)[:, 0].tolist()))
        at, sign = (self.first, 1) if player == "first" else (self.second, -1)
        loss = (at - sign * batch.pictures.mean()).square() + 0 * self.first * self.second
        return {"loss": loss * (math.nan if turn.step == self.config["spoil"] else 1), "at": at}

    def after_step(self, batch, turn):
        self.after += 1

    def sample(self, count, generator, labels=None, captions=None):
        return self.first.expand(count, *self.facts.shape)


@pytest.fixture(autouse=True)
def two(monkeypatch):
    monkeypatch.setitem(PRIORS, "two", Two)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    assert "training" in NOT_PRIORS


def examples(count=10):
    values = torch.linspace(-0.5, 0.9, count)
    return Examples(values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), name="numbers")


def test_every_player_has_its_turns_and_every_example_comes_once_in_an_epoch():
    prior = train_prior("two", examples(12), steps=4, turns=2).prior
    assert [(player, step) for player, step, _ in prior.calls[:6]] == [("first", 0), ("first", 0), ("second", 0), ("first", 1), ("first", 1), ("second", 1)]
    for epoch in range(4):
        seen = sorted(value for _, _, values in prior.calls[3 * epoch : 3 * epoch + 3] for value in values)
        assert seen == pytest.approx(torch.linspace(-0.5, 0.9, 12).tolist())
    assert prior.prepared == 12 and prior.after == 4


def test_players_learn_in_stages(monkeypatch, tmp_path):
    """Each in its span, with the turns, rates and figures of a run that is that span alone; a stop changes nothing."""
    spans = {"first": (0.0, 0.4), "second": (0.4, 1.0)}
    players = Two.players
    monkeypatch.setattr(Two, "players", lambda prior: {k: replace(v, span=spans[k]) for k, v in players(prior).items()})
    run = train_prior("two", examples(4), steps=50, final=0.1)
    assert [player for player, _, _ in run.prior.calls] == 20 * ["first"] + 30 * ["second"]
    told = [{name.split("_")[0] for name in record} & set(spans) for record in run.history]
    assert {"first"} in told and {"second"} in told
    for name, sign, rate, final, steps in (("first", 1, 0.1, 0.1, 20), ("second", -1, 0.2, 1.0, 30)):
        at = torch.zeros((), requires_grad=True)
        optimizer = torch.optim.Adam([at])
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = cosine_decay(step / steps, step, rate, final * rate)
            optimizer.zero_grad()
            (at - sign * examples(4).pictures.mean()).square().backward()
            optimizer.step()
        assert getattr(run.prior, name).item() == pytest.approx(at.item(), abs=1e-6)

    def stop(progress):
        if progress.stage == "training" and progress.step == 25:
            raise KeyboardInterrupt

    train_prior("two", examples(4), tmp_path, steps=50, final=0.1, on_progress=stop)
    again = train_prior("two", examples(4), tmp_path, steps=50, final=0.1, resume=True)
    assert again.prior.second.item() == run.prior.second.item() and again.prior.first.item() == run.prior.first.item()


def test_adam_is_that_of_torch_and_rates_decay():
    """Against torch.optim.Adam on the same gradients, with the rate of half a cosine after a warm-up."""
    prior = train_prior("two", examples(4), steps=30, final=0.1).prior
    mean = examples(4).pictures.mean()
    for name, sign, rate, final in (("first", 1, 0.1, 0.1), ("second", -1, 0.2, 1.0)):
        at = torch.zeros((), requires_grad=True)
        optimizer = torch.optim.Adam([at])
        for step in range(30):
            along = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / 30))
            optimizer.param_groups[0]["lr"] = rate * along * min(1, (step + 1) / 20)
            at.grad = 2 * (at.detach() - sign * mean)
            optimizer.step()
        assert getattr(prior, name).item() == pytest.approx(at.item(), abs=1e-5)


class Permuted(Prior):
    """Learns a kernel from pictures whose channels come last in memory, so that its gradient lies as they do."""

    name, batch_size = "two", 4

    def __init__(self, facts):
        super().__init__(facts)
        self.kernel = nn.Parameter(torch.linspace(-1, 1, 8 * 4 * 9).view(8, 4, 3, 3))

    def loss(self, player, batch, turn):
        pictures = batch.pictures.contiguous(memory_format=torch.channels_last)
        return {"loss": (nn.functional.conv2d(pictures, self.kernel) - 1).square().mean()}


def test_gradients_that_lie_otherwise_in_memory_reach_their_parameters(monkeypatch):
    monkeypatch.setitem(PRIORS, "two", Permuted)
    pictures = torch.randn(4, 4, 6, 6, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    prior = train_prior("two", Examples(pictures), steps=5).prior
    kernel = Permuted(prior.facts).kernel
    optimizer = torch.optim.Adam([kernel])
    for step in range(5):
        loss = Permuted.loss(SimpleNamespace(kernel=kernel), "all", Batch(pictures), None)["loss"]
        (kernel.grad,) = torch.autograd.grad(loss, kernel)
        assert kernel.grad.stride() != kernel.stride()
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 20)
        optimizer.step()
    assert torch.allclose(prior.kernel, kernel, atol=1e-6)


def test_figures_are_means_and_say_whose_they_are(tmp_path):
    said = []
    run = train_prior("two", examples(), tmp_path, steps=6, on_progress=said.append)
    assert {"first_loss", "second_loss", "first_at", "second_at"} <= set(run.history[0]) and len(run.history) == 6
    assert [p.stage for p in said] == ["loading", *["training"] * 6, "saving"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == run.history
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["steps"] == 6
    page = (tmp_path / "report.html").read_text()
    assert "First loss" in page and "numbers" in page and "alt=samples" in page
    trainer = PriorTrainer(examples(), training.PriorConfig("two", steps=3))
    at = []
    for _ in range(3):
        at.append(trainer.prior.first.item())
        trainer.step()
    assert trainer.progress({}).figures["first_at"] == pytest.approx(sum(at) / 3)
    assert trainer.progress({}).figures == {}


def test_a_bad_value_is_named_and_never_saved(tmp_path):
    with pytest.raises(NerfcoreError, match="first_loss of prior 'two' is not finite at step 3"):
        train_prior("two", examples(), tmp_path, steps=9, spoil=2)
    assert not (tmp_path / "model.nerf").exists()
    trainer = PriorTrainer(examples(), training.PriorConfig("two", steps=3))
    nn.init.constant_(trainer.prior.second, math.inf)
    with pytest.raises(NerfcoreError, match="second of prior"):
        trainer.check_finite()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    train_prior("two", examples(), tmp_path, steps=2, seed=1)
    assert train_prior("two", examples(), tmp_path, steps=5, seed=1, resume=True).steps == 5  # more of the same
    for change in (dict(seed=2), dict(rate=0.2), dict(batch_size=3)):
        with pytest.raises(ModelError, match="another source or configuration"):
            train_prior("two", examples(), tmp_path, steps=5, resume=True, **dict(seed=1) | change)
    with pytest.raises(ModelError, match="another source"):
        train_prior("two", examples(9), tmp_path, steps=5, seed=1, resume=True)
    with pytest.raises(ModelError, match="give out"):
        train_prior("two", examples(), steps=5, resume=True)


def test_a_budget_of_time_ends_and_goes_on_counting(tmp_path):
    run = train_prior("two", examples(), tmp_path, minutes=0.4 / 60)
    assert 0.4 <= run.seconds < 2 and run.steps > 1 and run.history[-1]["step"] == run.steps
    rest = train_prior("two", examples(), tmp_path, minutes=0.8 / 60, resume=True)
    assert 0.8 <= rest.seconds < 3 and rest.steps > run.steps
    with pytest.raises(NerfcoreError, match="minutes or steps"):
        train_prior("two", examples(), minutes=1, steps=1)
    with pytest.raises(NerfcoreError, match="positive"):
        train_prior("two", examples(), steps=0)


def test_what_is_no_prior_is_said(tmp_path):
    with pytest.raises(NerfcoreError, match="there is no prior 'three'"):
        train_prior("three", examples(), steps=1)
    training.write_tensors(tmp_path / "model.nerf", {"x": torch.zeros(1)}, dict(field="ngp"))
    with pytest.raises(ModelError, match="holds a field"):
        load_prior(tmp_path)
    train_prior("two", examples(), tmp_path / "prior", steps=1)
    with pytest.raises(ModelError):
        nerfcore.load(tmp_path / "prior")


@pytest.mark.parametrize("name", ["ddpm", "dcgan", "stylegan", "imagen"])
def test_what_is_compiled_computes_the_same(name, monkeypatch):
    """By the compiler's own interpreter: what it makes of a network on a GPU takes minutes to make."""
    called, by_backend = [], nn.Module.compile

    def compile(module):
        module.register_forward_hook(lambda *_: called.append(module))
        by_backend(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile)
    settings = dict(steps=3, batch_size=8, **prior_named(name).tiny)
    plain, compiled = (train_prior(name, bands(), compiled=flag, **settings).prior for flag in (False, True))
    assert len(set(called)) == len(compiled.networks()) > 0
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, compiled.state_dict()[key], rtol=1e-4, atol=1e-5), key


def test_a_grid_shows_every_picture_in_its_place():
    pictures = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 48, 48)
    grid = picture_grid(pictures, columns=3)
    assert grid.shape == (100, 150, 3) and grid.dtype == torch.uint8
    middles = grid[25::50, 25::50, 0].flatten().tolist()
    assert middles == [0, 64, 128, 191, 255, 255] and grid[0].min() == 255  # nothing is white, as frames are
    assert picture_grid(torch.zeros(1, 3, 16, 16)).shape == (50, 50, 3)
    with pytest.raises(ValueError, match="1 or 3"):
        picture_grid(torch.zeros(2, 2, 8, 8))
