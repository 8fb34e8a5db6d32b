"""How good samples of a prior are: their distance beside its floor and ceiling, and what a judge says of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerfcore._extension import cache_dir
from nerfcore.data.examples import Examples
from nerfcore.errors import OutputError
from nerfcore.metrics import features, generative
from nerfcore.metrics.features import Classifier, features_of, predictions, train_classifier
from nerfcore.priors.base import Prior
from nerfcore.training.checkpoint import read_tensors, write_tensors

FEATURE_STEPS = 1200  # of the classifier that features are of; with batches of 64 under a minute on one core at 28²
JUDGE_SEED = 101  # priors and feature nets are seeded with small numbers
JUDGE_HELD_OUT = 5  # one of so many
JUDGE_BOUND, DRAWN_AT_ONCE = 0.95, 250  # accuracy on real pictures, below which a judge's word is void; samples


def feature_net(train: Examples, seed: int = 0, steps: int = FEATURE_STEPS) -> Classifier:
    """The classifier that features are taken of: trained on all labels and attributes of the training split, on quarter
    turns where it has none, and kept in the cache folder under a digest of all that it depends on."""
    pictures, labels, classes = _questions(train)
    facts = repr((seed, steps, tuple(pictures.shape), classes, torch.__version__)).encode()
    contents = b"".join(x.numpy().tobytes() for x in (pictures, labels) if x is not None)
    digest = hashlib.sha256(Path(features.__file__).read_bytes() + facts + contents).hexdigest()[:16]
    if (file := cache_dir() / "features" / f"{digest}.nerf").is_file():
        net = Classifier(*pictures.shape[1:3], classes, dims=pictures.ndim - 2)
        net.load_state_dict(read_tensors(file)[0])
        return net.eval().requires_grad_(False)
    net = train_classifier(pictures, labels, classes, steps=steps, seed=seed)
    with contextlib.suppress(OutputError):  # then it is trained anew next time
        write_tensors(file, net.state_dict(), dict(data=train.name, classes=classes, steps=steps, seed=seed))
    return net


def draw_samples(
    prior: Prior, count: int, seed: int, labels: Tensor | None = None, captions: Sequence[str] | None = None
) -> Tensor:
    """Samples [count, C, *spatial] on the CPU, a few at a time; of labels [count] and captions, where there are any."""
    generator, parts = torch.Generator(prior.device).manual_seed(seed), []
    for first in range(0, count, DRAWN_AT_ONCE):
        part = slice(first, min(first + DRAWN_AT_ONCE, count))
        asked = labels if labels is None else labels[part].to(prior.device)
        told = captions if captions is None else captions[part]
        parts.append(prior.sample(part.stop - first, generator, asked, told).cpu())
    return torch.cat(parts)


@torch.no_grad()
def score_samples(
    samples: Tensor, train: Tensor, test: Tensor, net: Classifier | Callable[[Tensor], Tensor], seed: int = 0
) -> dict:
    """Figures of samples [N, C, *spatial] beside held-out pictures [M, …], all in [-1, 1], and of what bounds them.

    ``distance`` (Fréchet) and ``kernel_distance`` are from the samples to the test split, ``floor`` from the training
    split, ``ceiling`` from a Gaussian of its pixels; ``…_error``: standard errors. All sets have ``count`` pictures, as
    many as the smallest, since distances depend on it. The rest is of the samples, with 5 neighbours.
    """
    count = min(len(samples), len(train), len(test))
    generator = torch.Generator().manual_seed(seed)
    near = train[torch.randperm(len(train), generator=generator)[:count]]
    far = generative.pixel_gaussian(train, count, generator)
    fake, near, far, real = (features_of(x[:count].cpu(), net) for x in (samples, near, far, test))
    found = {}
    for name, other in dict(distance=fake, floor=near, ceiling=far).items():
        found[name] = generative.frechet_distance(other, real)
        found[f"{name}_error"] = generative.bootstrap_error(generative.frechet_distance, other, real, seed=seed)
        found[f"kernel_{name}"] = generative.kernel_distance(other, real)
    found["precision"], found["recall"] = generative.precision_recall(real, fake)
    found["density"], found["coverage"] = generative.density(real, fake), generative.coverage(real, fake)
    return found | dict(count=count)


@dataclass(frozen=True)
class Judge:
    """A classifier of examples that nothing else is trained on, and nothing is chosen by. real: by question, its
    accuracy on real pictures that it was not trained on."""

    net: Classifier
    real: dict[str, float]

    def verdict(self, question: str, pictures: Tensor, answers: Tensor) -> dict:
        """Of pictures [N, C, *spatial] in [-1, 1] that should show ``answers`` [N]: ``accuracy``, its standard
        ``error``, the judge's ``real_accuracy``, and ``void``, true where that is below 95 %."""
        right = (self.answers(question, pictures) == answers.cpu()).double()
        error = (right.var(correction=0) / len(right)).sqrt().item()
        real = self.real[question]
        return dict(accuracy=right.mean().item(), error=error, real_accuracy=real, void=real < JUDGE_BOUND)

    def answers(self, question: str, pictures: Tensor) -> Tensor:
        """[N]: what it sees in pictures."""
        return predictions(pictures.detach().cpu(), self.net)[:, list(self.real).index(question)]


def train_judge(examples: Examples, steps: int, seed: int = JUDGE_SEED) -> Judge:
    """A judge of all attributes of its own examples, of ``"label"`` where these have none; a fifth of them tells its
    accuracy. Pass a split with labels that no prior, feature net or guidance has seen."""
    pictures, labels, classes = _questions(examples)
    held_out = len(pictures) // JUDGE_HELD_OUT
    net = train_classifier(pictures[held_out:], labels[held_out:], classes, steps=steps, seed=seed)
    right = (predictions(pictures[:held_out], net) == labels[:held_out]).double().mean(0).tolist()
    return Judge(net, dict(zip(examples.attributes or ["label"], right, strict=True)))


def _questions(examples: Examples) -> tuple[Tensor, Tensor | None, list[int]]:
    """Pictures, labels [N, Q] of what can be asked of them, and how many answers each question has."""
    pictures, labels, _ = examples.take(torch.arange(len(examples)))
    asked = list((examples.attributes or {"label": labels}).values())
    if asked == [None]:
        return pictures, None, [4]
    return pictures, torch.stack(asked, 1), [int(answers.max()) + 1 for answers in asked]
