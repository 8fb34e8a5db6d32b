"""A training run from examples to the folder of a prior."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import torch
import yaml
from torch import Tensor

from nerfcore.data.captions import Tokeniser
from nerfcore.data.examples import Examples, picture_grid
from nerfcore.errors import ModelError, NerfcoreError
from nerfcore.files import write_file
from nerfcore.priors.base import Batch, Facts, Prior, Turn, prior_named
from nerfcore.training.checkpoint import load_model, restore, write_tensors
from nerfcore.training.loop import Progress, Training, fit, pick_device
from nerfcore.training.report import write_report
from nerfcore.training.schedule import cosine_decay, minutes_or_steps
from nerfcore.version import __version__

VOCABULARY = 512  # of the captions' tokeniser
SHOWN = 64  # samples in a run's picture
PRECISIONS = "float32", "bfloat16"


@dataclass(frozen=True)
class PriorConfig:
    """Settings of one run; every value that influences the result is here."""

    prior: str
    minutes: float | None = None  # wall time from the start; 5 if neither minutes nor steps are given
    steps: int | None = None  # number of steps, instead of minutes: repeatable to the bit
    seed: int = 0  # of every random number
    batch_size: int | None = None  # examples of a batch; the prior's own choice, if not given
    precision: str = "float32"  # of networks' products: or "bfloat16", by torch.autocast; parameters stay float32
    compiled: bool = False  # are networks compiled by torch.compile? It takes minutes
    config: dict = field(default_factory=dict)  # overrides of what the prior's constructor takes

    def __post_init__(self):
        object.__setattr__(self, "minutes", minutes_or_steps(self.minutes, self.steps, 5.0))
        if self.batch_size is not None and self.batch_size < 1:
            raise NerfcoreError(f"batch_size must be positive, got {self.batch_size}")
        if self.precision not in PRECISIONS:
            raise NerfcoreError(f"precision must be {' or '.join(PRECISIONS)}, got {self.precision!r}")


@dataclass(frozen=True)
class PriorProgress(Progress):
    """figures: what :meth:`Prior.loss` returned, as means since the last report, with the player's name before theirs
    where there are several."""

    examples_per_second: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict:
        rate = dict(examples_per_second=self.examples_per_second)
        return dict(step=self.step, seconds=self.seconds, **rate, **self.figures)


@dataclass
class PriorRun:
    """What :func:`train_prior` returns."""

    prior: Prior
    config: PriorConfig
    out: Path | None = None
    history: list[dict] = field(default_factory=list)
    interrupted: bool = False
    steps: int = 0
    seconds: float = 0.0


class PriorTrainer(Training):
    """One run's state; :meth:`step` is the whole method: each player in turn takes its updates by Adam (AdamW of
    Loshchilov and Hutter 2019, where it has a weight decay), then the prior does what follows."""

    def __init__(self, examples: Examples, config: PriorConfig, device: str = "cpu"):
        super().__init__(config, device)
        self.examples = examples
        facts = facts_of(examples)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.prior = made_prior(config.prior, facts, config.config).to(device).train()
        if config.compiled:
            for network in self.prior.networks():
                network.compile()
        self.players = self.prior.players()
        self.minimised = {
            name: [p for p in player.parameters if p.requires_grad] for name, player in self.players.items()
        }
        self.optimizers = {
            name: torch.optim.AdamW(
                self.minimised[name], player.learning_rate, player.betas, weight_decay=player.weight_decay, fused=True
            )
            for name, player in self.players.items()
        }
        self.batch_size = min(config.batch_size or self.prior.batch_size, len(examples))
        self.order, self.position = torch.empty(0, dtype=torch.int64), 0
        self.played = dict.fromkeys(self.players, 0)  # steps of each
        self.sums: dict[str, Tensor] = {}  # of figures since the last report
        self.summed: dict[str, int] = {}  # how many of each

    @property
    def trained(self):
        return self.prior

    def counts(self):
        return {"examples_per_second": self.steps * self.batch_size}

    def progress(self, rates):
        """The figures are means since the last report."""
        means = {name: (value / self.summed[name]).item() for name, value in self.sums.items()}
        self.sums, self.summed = {}, {}
        return PriorProgress(**asdict(super().progress({})), **rates, figures=means)

    def step(self) -> None:
        """An update, or several, of every player whose span this is."""
        spent = min(self.fraction, math.nextafter(1.0, 0.0))
        for name, player in self.players.items():
            begin, end = player.span
            if not begin <= spent < end:
                continue
            turn = Turn(self.steps, (spent - begin) / (end - begin), self.generator)
            optimizer, parameters = self.optimizers[name], self.minimised[name]
            last = player.learning_rate * player.final
            for group in optimizer.param_groups:
                group["lr"] = cosine_decay(turn.fraction, self.played[name], player.learning_rate, last)
            for _ in range(player.turns):
                batch = self._batch()
                with torch.autocast(batch.pictures.device.type, torch.bfloat16, self.config.precision == "bfloat16"):
                    figures = self.prior.loss(name, batch, turn)
                for what, value in figures.items():
                    what = what if len(self.players) == 1 else f"{name}_{what}"
                    self.sums[what] = self.sums.get(what, 0.0) + value.detach().double()
                    self.summed[what] = self.summed.get(what, 0) + 1
                gradients = torch.autograd.grad(figures["loss"], parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = None if gradient is None else laid_out_as(parameter, gradient)
                optimizer.step()
            self.played[name] += 1
        self.prior.after_step(batch, Turn(self.steps, spent, self.generator))
        self.steps += 1

    def check_finite(self) -> None:
        """Names the first value that went bad, of what losses said or of the prior."""
        for name, value in (self.sums | self.prior.state_dict()).items():
            if not torch.isfinite(value).all():
                raise self.not_finite(f"{name} of prior {self.config.prior!r} is not finite")

    def model(self) -> tuple[dict[str, Tensor], dict]:
        """What :func:`load_prior` makes the prior of."""
        return self.prior.state_dict(), dict(
            prior=self.config.prior,
            facts=asdict(self.prior.facts),
            config=self.prior.config,
            version=__version__,
            torch=torch.__version__,
            data=self.examples.name,
            trained=asdict(self.config),
            steps=self.steps,
            train_seconds=self.seconds,
        )

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that :meth:`load_state` needs to go on as if nothing had been between."""
        tensors = {f"prior.{k}": v for k, v in self.prior.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            moments = optimizer.state_dict()["state"]
            tensors |= {f"adam.{player}.{i}.{k}": v for i, kept in moments.items() for k, v in kept.items()}
        tensors |= dict(generator=self.generator.get_state(), order=self.order)
        return tensors, self._identity() | dict(
            steps=self.steps, played=self.played, seconds=self.seconds, position=self.position
        )

    def load_state(self, tensors: dict[str, Tensor], description: dict) -> None:
        if (saved := {k: description[k] for k in self._identity()}) != json.loads(json.dumps(self._identity())):
            raise ValueError(f"it was trained with {saved}")
        self.prior.load_state_dict({k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")})
        for player, optimizer in self.optimizers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name in (name for name in tensors if name.startswith(f"adam.{player}.")):
                index, key = name.removeprefix(f"adam.{player}.").split(".")
                moments.setdefault(int(index), {})[key] = tensors[name]
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
        self.generator.set_state(tensors["generator"])
        self.order, self.position = tensors["order"], description["position"]
        self.steps, self.played = description["steps"], description["played"]
        self.seconds_used += description["seconds"]

    def _identity(self) -> dict:
        """What a checkpoint must have in common with the run that goes on from it. The budget may grow."""
        return dict(
            prior=self.config.prior, config=self.config.config, facts=asdict(self.prior.facts), seed=self.config.seed,
            batch_size=self.batch_size, precision=self.config.precision, examples=len(self.examples),
        )

    def _batch(self) -> Batch:
        """The next examples of an order that is drawn anew when fewer than a batch are left of it."""
        if self.position + self.batch_size > len(self.order):
            order = torch.randperm(len(self.examples), generator=self.generator, device=self.device)
            self.order, self.position = order.cpu(), 0
        index = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        pictures, labels, captions = self.examples.take(index)
        return Batch(pictures.to(self.device), None if labels is None else labels.to(self.device), captions)


def train_prior(
    name: str,
    examples: Examples,
    out: str | Path | None = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int | None = None,
    precision: str = "float32",
    compiled: bool = False,
    resume: bool = False,
    on_progress: Callable[[PriorProgress], None] | None = None,
    **config,
) -> PriorRun:
    """Trains the prior of a name and, if ``out`` is given, leaves a run folder there: ``config.yaml``,
    ``metrics.jsonl``, ``model.nerf``, ``checkpoint/``, ``report.html`` and, of pictures, ``samples.png``.

    minutes or steps: the budget, 5 minutes if neither is given. precision: "float32", or "bfloat16" of products, while
    parameters stay float32. compiled: networks by torch.compile, which takes minutes before the first step. config:
    what the prior's constructor takes. resume: go on from the checkpoint in ``out``; minutes already spent count.
    on_progress is called about twice a second. Ctrl-C saves a checkpoint and returns with ``interrupted``. The same
    seed and steps give the same parameters on a CPU.

    Raises NerfcoreError, ModelError, OutputError: one sentence each.
    """
    settings = PriorConfig(name, minutes, steps, seed, batch_size, precision, compiled, config)
    out, tell = Path(out) if out is not None else None, on_progress or (lambda progress: None)
    started = time.perf_counter()
    tell(PriorProgress("loading"))
    trainer = PriorTrainer(examples, settings, pick_device(device))
    trainer.started = started
    run = PriorRun(trainer.prior, settings, out)
    try:
        if resume:
            run.history = restore(trainer, out)
        else:
            trainer.prior.prepare(examples, trainer.generator)
        if out is not None:
            shown = dict(data=examples.name, **asdict(settings))
            write_file(out / "config.yaml", yaml.safe_dump(json.loads(json.dumps(shown)), sort_keys=False))
        fit(trainer, run.history, tell, None if out is None else partial(_save, trainer, run))
    except KeyboardInterrupt:
        run.interrupted = True
    trainer.check_finite()
    run.steps, run.seconds = trainer.steps, trainer.seconds
    if trainer.summed:  # since the last report
        rate = trainer.steps * trainer.batch_size / run.seconds
        run.history.append(trainer.progress({"examples_per_second": rate}).record())
    tell(PriorProgress("saving", run.steps, 1.0, run.seconds))
    run.prior.eval()
    if out is not None:
        _save(trainer, run)
        _show(trainer, run)
    return run


def load_prior(path: str | Path, device: str = "auto") -> Prior:
    """The prior of a ``model.nerf``, or of the one in a run folder, ready to draw. Raises ModelError for a missing,
    damaged or newer file, and for one that holds no prior."""

    def made(tensors: dict[str, Tensor], description: dict) -> Prior:
        if "prior" not in description:
            raise ModelError(f"{path} holds a field, not a prior; load it by nerfcore.load")
        saved = description["facts"]
        facts = Facts(tuple(saved["shape"]), tuple(saved["labels"]), tuple(map(tuple, saved["merges"])))
        prior = made_prior(description["prior"], facts, description["config"])
        prior.load_state_dict(tensors)
        return prior.to(pick_device(device)).eval()

    return load_model(path, made)


def made_prior(name: str, facts: Facts, config: dict) -> Prior:
    """The prior of a name, with parameters from the global generator. Raises NerfcoreError for an unknown name, and for
    a configuration or facts that its constructor refuses."""
    cls = prior_named(name)
    try:
        return cls(facts, **config)
    except (TypeError, ValueError) as error:
        raise NerfcoreError(f"prior {name!r} cannot be made with {config or 'its defaults'}: {error}") from error


def facts_of(examples: Examples, vocabulary: int = VOCABULARY) -> Facts:
    """What a prior has to know of examples. Merges are those of a tokeniser of so many tokens that is trained on the
    captions; none where there are no captions."""
    merges = () if examples.captions is None else Tokeniser.trained(examples.captions, vocabulary).merges
    return Facts(tuple(examples.pictures.shape[1:]), tuple(examples.label_names), merges)


def laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the memory order of its parameter: PyTorch's fused Adam takes both as they lie, and convolutions of
    pictures with their channels last give gradients that lie otherwise."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _save(trainer: PriorTrainer, run: PriorRun) -> None:
    trainer.check_finite()
    tensors, description = trainer.state()
    write_tensors(run.out / "checkpoint" / "state.nerf", tensors, dict(**description, history=run.history))
    write_tensors(run.out / "model.nerf", *trainer.model())
    write_file(run.out / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in run.history))


def _show(trainer: PriorTrainer, run: PriorRun) -> None:
    """The page, and pictures that the prior draws, of labels and captions of the data where it needs them."""
    grid, prior, shape = None, trainer.prior, trainer.prior.facts.shape
    draws = type(prior).sample is not Prior.sample
    if draws and len(shape) == 3 and shape[0] in (1, 3):
        count = min(SHOWN, len(trainer.examples))
        _, labels, captions = trainer.examples.take(torch.arange(count))
        labels = labels.to(trainer.device) if "labels" in prior.needs and labels is not None else None
        generator = torch.Generator(trainer.device).manual_seed(run.config.seed)
        grid = picture_grid(prior.sample(count, generator, labels, captions if "merges" in prior.needs else None))
        write_file(run.out / "samples.png", iio.imwrite("<bytes>", grid.numpy(), extension=".png"))
        grid = grid / 255
    config = dict(prior=run.config.prior, data=trainer.examples.name) | asdict(run.config)
    metrics = dict(train_seconds=run.seconds, steps=run.steps, device=trainer.device, version=__version__)
    others = [name for name in (run.history[-1] if run.history else {}) if name not in ("step", "seconds", "loss")]
    write_report(run.out / "report.html", config, metrics, run.history, (), curves=others, samples=grid)
