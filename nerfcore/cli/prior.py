"""`nerfcore prior train`, `nerfcore prior sample`, `nerfcore prior eval`"""

from __future__ import annotations

import contextlib
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from nerfcore.cli.options import INTERRUPTED, Device, words_given
from nerfcore.errors import NerfcoreError

RunPath = Annotated[Positional[Path], arg(metavar="RUN")]
DataPath = Annotated[Positional[str], arg(metavar="DATA")]


@dataclass
class TrainPrior:
    """Trains a prior and leaves a run folder with its model, samples and curves. Ctrl-C saves what there is."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """Which: autoencoder, vae, vqvae, gan, stylegan, …; a wrong one lists all."""
    data: DataPath
    """"shapes" for our procedural objects, or a folder of idx files (MNIST, Fashion-MNIST) or of photographs."""
    out: Path | None = None
    """Run folder; default: runs/ and the names of prior and data."""
    minutes: float | None = None
    """Wall time; 5 if neither minutes nor steps are given."""
    steps: int | None = None
    """Number of steps, instead of minutes: repeatable."""
    seed: int = 0
    """Of every random number."""
    batch_size: int | None = None
    """Examples of a batch; default: the prior's own choice."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of networks' products; parameters stay float32. For GPUs."""
    compiled: bool = False
    """Compile networks by torch.compile, which takes minutes. For GPUs."""
    size: int | None = None
    """Pixels along each side of a picture; default: that of the data."""
    count: int | None = None
    """How many of the training pictures; default: all, 8000 of shapes."""
    device: Device = "auto"
    """Where tensors live; auto takes the GPU if there is one."""
    resume: bool = False
    """Go on from the checkpoint in the run folder; give the other options as before."""
    config: tuple[str, ...] = ()
    """What the prior is made with, as key=value: width=256 beta=4."""

    def run(self) -> int:
        from nerfcore.cli.console import TrainingDisplay, duration, print_table
        from nerfcore.data.examples import load_examples
        from nerfcore.priors.base import prior_named
        from nerfcore.priors.training import train_prior

        prior_named(self.name)  # says what there is before data is made or read
        config = pairs(self.config)
        out = self.out or Path("runs", f"{self.name}-{Path(self.data).resolve().name}")
        with TrainingDisplay(lines=describe) as display:
            run = train_prior(
                self.name, load_examples(self.data, "train", self.size, self.count), out, minutes=self.minutes,
                steps=self.steps, seed=self.seed, device=self.device, batch_size=self.batch_size,
                precision=self.precision, compiled=self.compiled, resume=self.resume, on_progress=display, **config,
            )
        if run.interrupted:
            words = [self.name, self.data, "--out", str(out), "--resume"]
            words += words_given(self, "name", "data", "out", "resume")
            print(f"Saved at step {run.steps}; go on with: {shlex.join(['nerfcore', 'prior', 'train', *words])}")
            return INTERRUPTED
        figures = {k: v for k, v in (run.history[-1] if run.history else {}).items() if k not in NOT_FIGURES}
        files = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        print_table([
            *((name.replace("_", " "), f"{value:.5g}") for name, value in figures.items()),
            ("time", f"{duration(run.seconds)}, {run.steps} steps"),
            ("files", f"{out}: {', '.join(files)}"),
        ])
        return 0


@dataclass
class SamplePrior:
    """Draws pictures from a prior and writes them as a grid."""

    model: RunPath
    """Run folder, or a model.nerf."""
    count: int = 64
    """How many."""
    seed: int = 0
    """Of the draw."""
    label: str | None = None
    """Of a prior of labels: the name of one, for all pictures; default: each in turn."""
    caption: str | None = None
    """Of a prior of captions: what to draw."""
    out: Path | None = None
    """Picture to write (.png); default: drawn.png in the run folder."""
    device: Device = "auto"
    """Where tensors live; auto takes the GPU if there is one."""

    def run(self) -> int:
        import imageio.v3 as iio

        from nerfcore.data.examples import picture_grid
        from nerfcore.files import write_file
        from nerfcore.priors.scores import draw_samples
        from nerfcore.priors.training import load_prior

        if self.count < 1:
            raise NerfcoreError(f"count must be positive, got {self.count}")
        prior = load_prior(self.model, self.device)
        if not does(prior, "sample"):
            raise NerfcoreError(f"prior {prior.name!r} in {self.model} draws nothing; take another")
        labels, captions = self._labels(prior), self._captions(prior)
        grid = picture_grid(draw_samples(prior, self.count, self.seed, labels, captions))
        folder = self.model if self.model.is_dir() else self.model.parent
        out = self.out or folder / "drawn.png"
        write_file(out, iio.imwrite("<bytes>", grid.numpy(), extension=".png"))
        print(f"{self.count} samples: {out}")
        return 0

    def _labels(self, prior):
        import torch

        names = prior.facts.labels
        if "labels" not in prior.needs:
            if self.label is not None:
                raise NerfcoreError(f"prior {prior.name!r} in {self.model} knows no labels; leave --label out")
            return None
        if self.label is None:
            return torch.arange(self.count) % len(names)
        if self.label not in names:
            raise NerfcoreError(f"{self.model} has no label {self.label!r}; choose {', '.join(names)}")
        return torch.full((self.count,), names.index(self.label))

    def _captions(self, prior) -> list[str] | None:
        if ("merges" in prior.needs) != (self.caption is not None):
            advice = "draws what a --caption says; give one" if self.caption is None else "knows no captions"
            raise NerfcoreError(f"prior {prior.name!r} in {self.model} {advice}")
        return self.caption and [self.caption] * self.count


@dataclass
class EvalPrior:
    """Scores what a prior draws, and what it keeps of pictures, beside a floor and a ceiling.

    Distances are between features of a small classifier that is trained on the training pictures: they are no FID, and
    are to be compared within one data set only. The floor is the distance of the training pictures from those held out,
    the ceiling that of a Gaussian of their pixels.
    """

    model: RunPath
    """Run folder, or a model.nerf."""
    data: DataPath
    """"shapes" or the folder that the prior was trained on: it is scored on the pictures held out."""
    count: int = 2000
    """Samples, against as many held-out pictures."""
    seed: int = 0
    """Of the samples."""
    features: Literal["own", "inception"] = "own"
    """Of which network; inception needs torchvision and its weights on disk."""
    json: Path | None = None
    """Also write the figures to this file."""
    device: Device = "auto"
    """Where tensors live; auto takes the GPU if there is one."""

    def run(self) -> int:
        import torch

        from nerfcore.cli.console import print_table, stages
        from nerfcore.data.examples import load_examples
        from nerfcore.files import write_file
        from nerfcore.metrics.features import inception_features
        from nerfcore.priors.scores import draw_samples, feature_net, score_samples
        from nerfcore.priors.training import load_prior

        prior = load_prior(self.model, self.device)
        draws, keeps = does(prior, "sample"), does(prior, "reconstruct")
        if not draws and not keeps:
            raise NerfcoreError(f"prior {prior.name!r} in {self.model} neither draws nor encodes pictures")
        own = self.features == "own"
        net = None if own else inception_features()  # which may not be there: before all that takes time
        with stages() as stage:
            stage("reading pictures", 0, 1)
            train = load_examples(self.data, "train", prior.facts.shape[-1])
            test = load_examples(self.data, "test", prior.facts.shape[-1])
            if test.shape != prior.facts.shape:
                shape, given = list(prior.facts.shape), list(test.shape)
                raise NerfcoreError(f"{self.model} is of pictures {shape}, {self.data} has {given}; take its own")
            test = test.subset(torch.arange(min(self.count, len(test))))
            if draws and len(test) < FEWEST:
                raise NerfcoreError(f"samples are compared with at least {FEWEST} held-out pictures, got {len(test)}")
            pictures, labels, captions = test.take(torch.arange(len(test)))
            found = dict(prior=prior.name, data=test.name, count=len(test))
            if keeps:
                stage("encoding", 0, 1)
                found["reconstruction_mse"] = reconstruction_error(prior, pictures)
            if draws:
                stage("drawing", 0, 1)
                labels = labels if "labels" in prior.needs else None
                captions = captions if "merges" in prior.needs else None
                samples = draw_samples(prior, len(test), self.seed, labels, captions)
                stage("training the classifier whose features are compared", 0, 1)
                net = net or feature_net(train)
                stage("comparing", 0, 1)
                real = train.take(torch.arange(len(train)))[0]
                found |= dict(features="own classifier" if own else "torchvision Inception-v3")
                found |= score_samples(samples, real, pictures, net)
        print_table(table(found))
        if self.json:
            write_file(self.json, json.dumps(dict(schema=1, **found), indent=1))
        return 0


@dataclass
class Prior:
    """Trains generative priors of pictures, draws from them and scores them."""

    command: OmitSubcommandPrefixes[
        Annotated[TrainPrior, subcommand("train")]
        | Annotated[SamplePrior, subcommand("sample")]
        | Annotated[EvalPrior, subcommand("eval")]
    ]

    def run(self) -> int:
        return self.command.run()


NOT_FIGURES = "step", "seconds", "examples_per_second"
FEWEST = 6  # pictures that each have 5 neighbours
AT_ONCE = 250  # pictures that are encoded together


def does(prior, what: str) -> bool:
    """Has the class of a prior a method of its own in the place of the one that is not there?"""
    from nerfcore.priors import base

    return getattr(type(prior), what) is not getattr(base.Prior, what)


def reconstruction_error(prior, pictures) -> float:
    """Mean square over all values of what the code of pictures [N, C, *spatial] does not keep."""
    import torch

    with torch.no_grad():
        parts = [prior.reconstruct(part.to(prior.device)).cpu() - part for part in pictures.split(AT_ONCE)]
    return torch.cat(parts).square().mean().item()


def pairs(words: tuple[str, ...]) -> dict:
    """Of words key=value."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise NerfcoreError(f"--config takes key=value, got {word!r}")
        found[key] = _value(value)
    return found


def _value(text: str):
    """A number, or what YAML makes of it: true, [1, 2], a word. YAML alone takes 1e-3 for a word."""
    import yaml

    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NerfcoreError(f"--config: {text!r} is no value that YAML knows; put it in quotes") from error


def describe(progress) -> tuple[str, str]:
    """Two short lines of a :class:`nerfcore.priors.training.PriorProgress`: its figures, and how fast it goes."""
    from nerfcore.cli.console import compact, duration

    figures = " · ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in progress.figures.items())
    left = "" if math.isnan(progress.seconds_left) else f" · {duration(round(progress.seconds_left))} left"
    return figures, f"step {progress.step} · {compact(progress.examples_per_second)} examples/s{left}"


def table(found: dict) -> list[tuple[str, str]]:
    """Rows of what :class:`EvalPrior` found, for people."""
    rows = [("data", f"{found['data']}, {found['count']} held-out pictures")]
    if (mse := found.get("reconstruction_mse")) is not None:
        psnr = 10 * math.log10(4 / mse) if mse else math.inf  # values span 2
        rows.append(("reconstruction", f"mean squared error {mse:.4g} of values in [-1, 1], {psnr:.2f} dB"))
    if "distance" in found:
        rows.append(("features", found["features"]))
        for name, key, error in (("Fréchet distance", "", "_error"), ("kernel distance", "kernel_", None)):
            value, floor, ceiling = (found[f"{key}{which}"] for which in ("distance", "floor", "ceiling"))
            doubt = f" ± {found['distance' + error]:.2g}" if error else ""
            rows.append((name, f"{value:.4g}{doubt} (floor {floor:.4g}, ceiling {ceiling:.4g})"))
        rows += [(name, f"{found[name]:.3f}") for name in ("precision", "recall", "density", "coverage")]
    return rows
